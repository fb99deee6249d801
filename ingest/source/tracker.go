package source

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"time"
)

// How long what is not as it should be is waited for.
const (
	// LinkedFor: a file with another hard link is a problem after this long.
	LinkedFor = 5 * time.Minute
	// maxTaken bounds the memory about files that stay in their folder, at some
	// 40 bytes each. Beyond it the ledger is asked again at every listing.
	maxTaken = 1 << 20
)

// A Tracker remembers what is pending in one folder between looks and says
// what is ripe. It is for one goroutine.
//
// Its owner lists (Scan) or looks at single names (Look, Gone), takes what is
// Ripe, and says of each file how that went: Gone (it was moved away), Taken
// (it was taken up and stays), Again, Busy, Unproven or Refuse.
type Tracker struct {
	rules  Rules
	filter *Filter
	tell   func(*Problem)

	origin time.Time // now is counted from here by the monotonic clock
	items  map[string]*item
	queue  queue // the items that are to be looked at by some time
	ready  []*item
	marks  map[string]uint64 // file → the scan that last saw its done_file
	sides  map[string]*side  // file → its sidecar
	taken  map[mark]uint64   // state of a file that stays → the scan that last saw it
	seeds  [2]maphash.Seed

	scan    uint64
	cut     Entry // with crowded: what comes after it in order is left out
	crowded bool
	leftOut int
	toldFor bool // TooMany was told
}

// mark stands for a file in one state. It is keyed at random and long enough
// that no two states ever share one.
type mark [2]uint64

// A side is the sidecar of a file.
type side struct {
	Entry
	since time.Duration // the first look that saw it in this state
	scan  uint64
}

// An item is a file that is pending.
type item struct {
	Entry
	since  time.Duration // the first look that saw it in this state
	linked time.Duration // the first look that saw another link; meaningful while Links > 1
	hold   time.Duration // not to be tried before this
	due    time.Duration // when to look again; never: not before it changes
	place  int           // in queue; -1: not there
	scan   uint64
	tries  uint8 // failed ones to take it
	told   Kind  // the problem that was told about this state
	doubt  error // why it is unproven in this state and its sidecar's
	void   bool  // the state is not to be built on: the next look begins anew
	ready  bool
	listed bool // in Tracker.ready, ready or not
}

var errLinked = errors.New("has another hard link; remove the link, or copy the file in")

const never = time.Duration(math.MaxInt64)

// NewTracker compiles rules. tell hears of each problem once; it must not
// call the Tracker.
func NewTracker(rules Rules, tell func(*Problem)) (*Tracker, error) {
	f, err := NewFilter(rules)
	if err != nil {
		return nil, err
	}
	if rules.Limit <= 0 {
		rules.Limit = DefaultLimit
	}
	return &Tracker{
		rules:  rules,
		filter: f,
		tell:   tell,
		origin: time.Now(),
		scan:   1,
		items:  map[string]*item{},
		marks:  map[string]uint64{},
		sides:  map[string]*side{},
		taken:  map[mark]uint64{},
		seeds:  [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
	}, nil
}

// Filter is the rules' filter.
func (t *Tracker) Filter() *Filter { return t.filter }

// now is a monotonic time: a clock that is set does not touch it.
func (t *Tracker) now() time.Duration { return time.Since(t.origin) }

// Scan lists the whole folder. What a listing that came to its end did not
// show is forgotten; one that broke off proves nothing about what it did not
// show.
func (t *Tracker) Scan(ctx context.Context, l Lister) error {
	t.scan++
	t.crowded, t.leftOut = false, 0
	err := l.List(ctx, func(e Entry) error {
		t.Look(e)
		return nil
	})
	if err != nil {
		return err
	}
	for name, it := range t.items {
		if it.scan != t.scan {
			t.drop(name, it)
		}
	}
	for name, scan := range t.marks {
		if scan != t.scan {
			t.unmark(name)
		}
	}
	for name, s := range t.sides {
		if s.scan != t.scan {
			t.unprove(name)
		}
	}
	for m, scan := range t.taken {
		if scan != t.scan {
			delete(t.taken, m)
		}
	}
	t.prune(t.rules.Limit)
	t.tellCrowd()
	return nil
}

// Look says what one name looks like now.
func (t *Tracker) Look(e Entry) {
	if data, ok := t.filter.Marks(e.Name); ok {
		t.lookMarker(data, e)
		return
	}
	if data, ok := t.filter.Proves(e.Name); ok {
		t.lookSidecar(data, e)
		return
	}
	if !e.Mode.IsRegular() {
		t.Gone(e.Name)
		return
	}
	if len(t.taken) > 0 {
		if m := t.mark(&e); t.taken[m] != 0 {
			t.taken[m] = t.scan
			t.Gone(e.Name)
			return
		}
	}
	now := t.now()
	it := t.items[e.Name]
	if it == nil {
		if t.crowded && t.order(&e, &t.cut) > 0 {
			t.leftOut++
			return
		}
		it = &item{place: -1, void: true}
		t.items[e.Name] = it
		if slack := t.rules.Limit / 4; len(t.items) > t.rules.Limit+slack {
			defer t.prune(t.rules.Limit)
		}
	}
	it.scan = t.scan
	if !it.void && it.Same(&e) {
		if e.Links > 1 && it.Links <= 1 {
			it.linked = now
		}
		if e.Mode != it.Mode { // somebody may just have mended what was refused
			it.hold, it.tries = 0, 0
		}
		it.Links, it.Mode = e.Links, e.Mode
	} else {
		*it = item{Entry: e, since: now, linked: now, place: it.place, scan: it.scan, listed: it.listed}
	}
	t.judge(it, now)
}

func (t *Tracker) lookMarker(data string, e Entry) {
	if !e.Mode.IsRegular() {
		t.Gone(e.Name)
		return
	}
	if _, ok := t.marks[data]; !ok && len(t.marks) >= 2*t.rules.Limit {
		return
	}
	t.marks[data] = t.scan
	if it := t.items[data]; it != nil && !it.ready {
		t.schedule(it, t.now()) // looked at afresh before it is taken
	}
}

// Gone says that nothing is called name any more.
func (t *Tracker) Gone(name string) {
	if data, ok := t.filter.Marks(name); ok {
		t.unmark(data)
		return
	}
	if data, ok := t.filter.Proves(name); ok {
		t.unprove(data)
		return
	}
	if it := t.items[name]; it != nil {
		t.drop(name, it)
	}
}

func (t *Tracker) unmark(data string) {
	delete(t.marks, data)
	if it := t.items[data]; it != nil {
		t.judge(it, t.now())
	}
}

func (t *Tracker) drop(name string, it *item) {
	delete(t.items, name)
	it.ready = false
	t.schedule(it, never)
}

// judge decides, right after a look, whether an item is ripe, and else when to
// look again.
func (t *Tracker) judge(it *item, now time.Duration) {
	marked, settled := t.marked(it.Name), it.since+t.rules.Settle
	switch {
	case t.lacks(it):
		t.unready(it, never)
	case it.Links > 1:
		if now-it.linked >= LinkedFor {
			t.say(it, Linked, errLinked)
		}
		t.unready(it, now+clamp((now-it.linked)/4, shortly, 5*time.Second))
	case !marked && now < settled: // past it, this look is the second one at least
		t.unready(it, settled)
	case t.rules.MaxSize > 0 && it.Size > t.rules.MaxSize:
		t.say(it, TooLarge, fmt.Errorf("%d bytes pass max_size, %d; raise max_size or send it in parts", it.Size, t.rules.MaxSize))
		t.unready(it, never)
	case now < it.hold:
		t.unready(it, it.hold)
	default:
		t.makeReady(it)
	}
}

// lacks reports whether an item waits for its done_file or sidecar.
func (t *Tracker) lacks(it *item) bool {
	return t.rules.DoneFile != "" && !t.marked(it.Name) || t.rules.Sidecar != "" && t.sides[it.Name] == nil
}

func (t *Tracker) marked(name string) bool {
	_, ok := t.marks[name]
	return ok
}

func (t *Tracker) unready(it *item, due time.Duration) {
	it.ready = false
	t.schedule(it, due)
}

func (t *Tracker) makeReady(it *item) {
	t.schedule(it, never)
	it.ready = true
	if !it.listed {
		it.listed = true
		t.ready = append(t.ready, it)
	}
}

// Ripe returns what may be taken up now, in order. An entry is returned again
// until its owner says what became of it.
func (t *Tracker) Ripe() []Entry {
	t.ready = slices.DeleteFunc(t.ready, func(it *item) bool {
		it.listed = it.ready
		return !it.ready
	})
	slices.SortFunc(t.ready, func(a, b *item) int { return t.order(&a.Entry, &b.Entry) })
	es := make([]Entry, len(t.ready))
	for i, it := range t.ready {
		es[i] = it.Entry
	}
	return es
}

// Due returns the names whose time for another look has come. The owner
// answers each with Look or Gone.
func (t *Tracker) Due() []string {
	var names []string
	for now := t.now(); len(t.queue) > 0 && t.queue[0].due <= now; {
		it := t.queue[0]
		t.schedule(it, never)
		names = append(names, it.Name)
	}
	return names
}

// Next is how long it is until Due has a name; false: nothing waits.
func (t *Tracker) Next() (time.Duration, bool) {
	if len(t.queue) == 0 {
		return 0, false
	}
	return max(0, t.queue[0].due-t.now()), true
}

// Has reports whether a file of this name is pending.
func (t *Tracker) Has(name string) bool { return t.items[name] != nil }

// More reports whether the last Scan left names out for want of room.
func (t *Tracker) More() bool { return t.leftOut > 0 }

// Taken says that e was taken up and stays where it is: it is of no interest
// until it changes.
func (t *Tracker) Taken(e Entry) {
	if len(t.taken) < maxTaken {
		t.taken[t.mark(&e)] = t.scan
	}
	t.Gone(e.Name)
}

// mark is the fingerprint of a file's state.
func (t *Tracker) mark(e *Entry) (m mark) {
	for i := range m {
		var h maphash.Hash
		h.SetSeed(t.seeds[i])
		maphash.WriteComparable(&h, [4]uint64{uint64(e.Size), uint64(e.ModTime.UnixNano()), e.Inode, e.Device})
		h.WriteString(e.Name)
		m[i] = h.Sum64()
	}
	return m
}

func (t *Tracker) order(a, b *Entry) int {
	if t.rules.Order != ByName {
		if c := a.ModTime.Compare(b.ModTime); c != 0 {
			return c
		}
	}
	return cmp.Compare(a.Name, b.Name)
}

// prune keeps the first n items in order.
func (t *Tracker) prune(n int) {
	if len(t.items) <= n {
		return
	}
	all := make([]*item, 0, len(t.items))
	for _, it := range t.items {
		all = append(all, it)
	}
	slices.SortFunc(all, func(a, b *item) int { return t.order(&a.Entry, &b.Entry) })
	for _, it := range all[n:] {
		t.drop(it.Name, it)
	}
	t.leftOut += len(all) - n
	t.crowded, t.cut = true, all[n-1].Entry
}

func (t *Tracker) tellCrowd() {
	if !t.crowded {
		t.toldFor = false
		return
	}
	if !t.toldFor {
		t.toldFor = true
		t.tell(&Problem{Kind: TooMany, Err: fmt.Errorf(
			"more than %d names: the first by %s are taken up first, %d wait unseen",
			t.rules.Limit, cmp.Or(t.rules.Order, ByModTime), t.leftOut)})
	}
}

// schedule puts an item into the queue, at another place of it, or takes it
// out.
func (t *Tracker) schedule(it *item, due time.Duration) {
	it.due = due
	switch {
	case due == never && it.place >= 0:
		heap.Remove(&t.queue, it.place)
	case due == never:
	case it.place >= 0:
		heap.Fix(&t.queue, it.place)
	default:
		heap.Push(&t.queue, it)
	}
}

// queue is a heap of items by due.
type queue []*item

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due < q[j].due }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

func (q *queue) Push(x any) {
	it := x.(*item)
	it.place = len(*q)
	*q = append(*q, it)
}

func (q *queue) Pop() any {
	old := *q
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	it.place = -1
	return it
}
