package pipeline

// A Point is a place of an arrival's life at which a process may die: between
// what is on disk there and what is done next.
type Point string

// The points that Options.Reach is told of, each every time it is reached.
const (
	AfterClaim    Point = "after claim"    // the claim is on disk, nothing of it was sent
	AfterSend     Point = "after send"     // a request came back, what became of it is nowhere
	AfterSettle   Point = "after settle"   // what became of a batch is on disk
	BeforeReceipt Point = "before receipt" // the books are closed, the report that is due is nowhere
	AfterReceipt  Point = "after receipt"  // the report is written, which is noted nowhere
	BeforeMove    Point = "before move"    // the books are closed, the bytes are where they were
	AfterMove     Point = "after move"     // the bytes are put away, which is noted nowhere
)

// Points lists all of them.
func Points() []Point {
	return []Point{AfterClaim, AfterSend, AfterSettle, BeforeReceipt, AfterReceipt, BeforeMove, AfterMove}
}

func (e *Engine) reach(p Point) {
	if e.o.Reach != nil {
		e.o.Reach(p)
	}
}
