package ledgertest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"ingestd/ingest"
)

// A world is a ledger under test, with what a test does to it in one line.
type world struct {
	TB
	Ledger
	d    Driver
	root string
	dir  string
	n    int
	now  time.Time // the wall clock when the ledger was opened
	from time.Time // when that was
	keep func(string) time.Duration
}

func newWorld(t *testing.T, d Driver) *world { return worldIn(t, d, t.TempDir(), 0) }

func worldIn(t TB, d Driver, root string, keep time.Duration) *world {
	w := &world{
		TB: t, d: d, root: root, dir: filepath.Join(root, "0"),
		now:  time.Date(2026, 3, 5, 12, 0, 0, 0, time.UTC),
		keep: func(string) time.Duration { return keep },
	}
	w.start()
	return w
}

// start opens the ledger.
func (w *world) start() {
	w.Helper()
	now, from := w.now, time.Now()
	w.from = from
	w.Ledger = w.d.Open(w, Options{Dir: w.dir, Keep: w.keep, Now: func() time.Time { return now.Add(time.Since(from)) }})
	l := w.Ledger
	w.Cleanup(func() { l.Close() })
}

// crash goes on with what is on disk now.
func (w *world) crash() { w.Helper(); w.crashFor(0) }

// crashFor does so some time later.
func (w *world) crashFor(later time.Duration) {
	w.Helper()
	from, old := w.dir, w.Ledger
	w.n++
	w.dir = filepath.Join(w.root, fmt.Sprint(w.n))
	w.d.Crash(w, from, w.dir)
	old.Close()
	w.now = w.now.Add(later + time.Since(w.from))
	w.start()
}

// restart closes the ledger in order and opens it again, later.
func (w *world) restart(later time.Duration) {
	w.Helper()
	w.check(w.Close())
	w.now = w.now.Add(later + time.Since(w.from))
	w.start()
}

func (w *world) check(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// ctx is long enough for what must happen, and ends before the test binary
// does.
func (w *world) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	w.Cleanup(cancel)
	return ctx
}

// accept takes an arrival up, of pipeline p and scope p.
func (w *world) accept(name string) int64 { w.Helper(); return w.acceptFor("p", "p", name, 100) }

func (w *world) acceptFor(pipeline, scope, name string, size int64) int64 {
	w.Helper()
	ids, err := w.Accept(w.ctx(), pipeline, scope, []ingest.Found{{
		Source: "dir", Name: name, Origin: "/drop/" + name, Path: "/work/" + name, Size: size,
		ModTime: time.Unix(1700000000, 5), Device: 1, Inode: 2, FoundAt: w.now,
	}})
	w.check(err)
	return ids[0]
}

func (w *world) begin(id int64) *ingest.Begun {
	w.Helper()
	b, err := w.Begin(w.ctx(), id, []byte("settings"))
	w.check(err)
	return b
}

// begun takes an arrival up and begins it.
func (w *world) begun(name string) int64 {
	w.Helper()
	id := w.accept(name)
	w.begin(id)
	return id
}

// key makes a key of its name; "" has none.
func key(name string) (k ingest.Key) {
	if name != "" {
		sum := sha256.Sum256([]byte("key " + name))
		copy(k[:], sum[:])
	}
	return k
}

// judge asks about the keys of records that follow on first.
func (w *world) judge(arrival, first int64, keys ...string) []ingest.Judged {
	w.Helper()
	return w.judgeIn("p", arrival, first, keys...)
}

func (w *world) judgeIn(scope string, arrival, first int64, keys ...string) []ingest.Judged {
	w.Helper()
	recs := make([]ingest.Judged, len(keys))
	for i, k := range keys {
		recs[i] = ingest.Judged{Pos: position(first + int64(i)), Key: key(k), Verdict: ingest.New}
	}
	w.check(w.Judge(w.ctx(), arrival, scope, recs))
	return recs
}

func position(record int64) ingest.Position {
	return ingest.Position{Record: record, Line: record + 1, Column: 1, Offset: 10 * record}
}

func raw(record int64) []byte { return fmt.Appendf(nil, "record %d", record) }

// verdicts of records, as one word: N new, D duplicate, X dead, F follow, - filtered.
func verdicts(recs []ingest.Judged) string {
	b := make([]byte, len(recs))
	for i := range recs {
		b[i] = "?NDfXF"[recs[i].Verdict]
	}
	return string(b)
}

// draft builds a claim of judged records for sinks. The new ones go into one
// batch for each sink; sinks in later get none yet.
func draft(arrival int64, scope string, recs []ingest.Judged, sinks, later []string) *ingest.Claim {
	c := &ingest.Claim{Arrival: arrival, Scope: scope, First: recs[0].Pos.Record, Last: recs[len(recs)-1].Pos.Record, Sinks: sinks}
	var v ingest.VerdictList
	var fresh []ingest.Judged
	keyed := false
	for _, r := range recs {
		v.Add(r.Verdict)
		switch r.Verdict {
		case ingest.New:
			fresh = append(fresh, r)
			c.Keys = append(c.Keys, r.Key)
			keyed = keyed || r.Key != (ingest.Key{})
		case ingest.Dead:
			c.Dead = append(c.Dead, ingest.ClaimFault{
				Fault: ingest.Fault{Pos: r.Pos, Stage: ingest.StageShape, Reason: r.Reason, Raw: raw(r.Pos.Record)}, Key: r.Key,
			})
		case ingest.Follow:
			c.Followers = append(c.Followers, ingest.Follower{Pos: r.Pos, Key: r.Key, Raw: raw(r.Pos.Record), Leader: r.Leader})
		}
	}
	if !keyed {
		c.Keys = nil
	}
	c.Verdicts = v.Take()
	for _, s := range sinks {
		if len(fresh) > 0 && !slices.Contains(later, s) {
			c.Batches = append(c.Batches, batch(s, fresh))
		}
	}
	return c
}

// batch is one request with these records.
func batch(sink string, recs []ingest.Judged) *ingest.Batch {
	b := &ingest.Batch{Sink: sink, First: recs[0].Pos.Record, Last: recs[len(recs)-1].Pos.Record, Records: len(recs)}
	b.BodyHash = sha256.Sum256(fmt.Appendf(nil, "%s %d-%d of %d", sink, b.First, b.Last, b.Records))
	binary.BigEndian.PutUint64(b.Key[:], uint64(b.First)<<20|uint64(b.Last))
	return b
}

// claim commits what was judged, for one sink or those named.
func (w *world) claim(arrival int64, recs []ingest.Judged, sinks ...string) *ingest.Claim {
	w.Helper()
	if len(sinks) == 0 {
		sinks = []string{"a"}
	}
	c := draft(arrival, "p", recs, sinks, nil)
	w.commit(c)
	return c
}

func (w *world) commit(c *ingest.Claim) {
	w.Helper()
	w.check(wait(func(done func(error)) { w.Claim(c, done) }))
}

// wait carries one queued request out.
func wait(start func(done func(error))) error {
	done := make(chan error, 1)
	start(func(err error) { done <- err })
	return <-done
}

func (w *world) settle(s ingest.Settlement) {
	w.Helper()
	w.check(wait(func(done func(error)) { w.Settle(&s, done) }))
}

func (w *world) delivered(b *ingest.Batch) {
	w.Helper()
	w.settle(ingest.Settlement{Batch: b, State: ingest.BatchDelivered, Attempts: 1, Status: 200})
}

// refused makes all records of a batch dead.
func (w *world) refused(b *ingest.Batch, reason string, records ...int64) {
	w.Helper()
	w.settle(ingest.Settlement{
		Batch: b, State: ingest.BatchDead, Attempts: 1, Status: 422, Answer: "no",
		Dead: letters(b.Sink, reason, records...),
	})
}

func letters(sink, reason string, records ...int64) []ingest.Letter {
	out := make([]ingest.Letter, len(records))
	for i, r := range records {
		out[i] = ingest.Letter{Pos: position(r), Stage: ingest.StageDeliver, Sink: sink, Reason: reason, Status: 422, Answer: "no", Raw: raw(r)}
	}
	return out
}

// settled waits until an arrival has nothing open and returns its books.
func (w *world) settled(id int64) ingest.Counts {
	w.Helper()
	n, err := w.Settled(w.ctx(), id)
	w.check(err)
	return n
}

// end closes an arrival's books and puts it away.
func (w *world) end(id int64) *ingest.Arrival {
	w.Helper()
	return w.endAs(id, ingest.Ending{State: ingest.Done, Away: ingest.Disposition{Action: "move", To: "/done"}})
}

func (w *world) endAs(id int64, e ingest.Ending) *ingest.Arrival {
	w.Helper()
	a, err := w.End(w.ctx(), id, e)
	w.check(err)
	w.check(w.PutAway(w.ctx(), id, ingest.Disposition{}))
	return a
}

// arrival reads one as people see it.
func (w *world) arrival(id int64) *ingest.ArrivalDetail {
	w.Helper()
	a, err := w.Arrival(w.ctx(), id)
	w.check(err)
	return a
}

func (w *world) letters(f ingest.LetterFilter) (out []ingest.Letter) {
	w.Helper()
	for d, err := range w.Letters(w.ctx(), f) {
		w.check(err)
		out = append(out, d)
	}
	return out
}

// balanced fails the test where an arrival's books do not balance.
func (w *world) balanced() {
	w.Helper()
	for row, err := range w.Audit(w.ctx(), "", 0) {
		w.check(err)
		if !row.Balanced {
			w.Errorf("arrival %d (%s): %s", row.Arrival, row.State, row.Why)
		}
	}
}

// expect compares verdicts.
func (w *world) expect(recs []ingest.Judged, want string) {
	w.Helper()
	if got := verdicts(recs); got != want {
		w.Fatalf("verdicts %s, want %s", got, want)
	}
}

// counts compares books.
func (w *world) counts(got, want ingest.Counts) {
	w.Helper()
	if got != want {
		w.Fatalf("books %+v, want %+v", got, want)
	}
}
