// Package journal keeps events on disk before they are answered.
//
// A journal is a directory of segments. Events are appended to the newest; what
// comes while a write is under way goes out with the next one, so a burst
// shares one fsync. A segment that is sealed never changes again: it is one
// arrival, whose number it bears from its first event on, and an event is known
// by that number and its index in the segment.
//
// It promises:
//
//   - Append returns nil only once the event is on disk: its bytes were
//     fsynced, and so was the directory that names its segment.
//   - An event is read back as it was appended or not at all. A tail that a
//     crash tore was never answered; Open cuts it off.
//   - A write that failed leaves no part of an event that a later one would be
//     read behind, and an event whose Append failed may still be there: a
//     sender that was told of a failure sends it again.
//   - What waits is bounded, in bytes; beyond it Append says ErrFull.
package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options say where a journal is and what bounds it.
type Options struct {
	Dir string
	// Reserve gives the number of the next segment. Numbers rise and are never
	// given twice, also across restarts.
	Reserve func(ctx context.Context) (int64, error)
	// MaxSegment is the size at which a segment is sealed, in bytes; 0 = 16 MiB.
	MaxSegment int64
	// MaxEvents is the number of events at which a segment is sealed; 0 = 10,000.
	MaxEvents int
	// MaxWaiting bounds the bytes that were not taken or not released; 0 = 1 GiB.
	MaxWaiting int64
}

// Errors of Append.
var (
	ErrFull   = errors.New("the queue on disk is full")
	ErrClosed = errors.New("the journal is closed")
)

// A Ref is an event's name: its segment and its place in it, from 1.
type Ref struct {
	Segment int64
	Index   int
}

// String is the event's arrival number, as people see it: 4711.3.
func (r Ref) String() string {
	return strconv.FormatInt(r.Segment, 10) + "." + strconv.Itoa(r.Index)
}

// A Segment is a sealed one.
type Segment struct {
	Number int64
	Path   string
	Size   int64 // bytes of the file
	Events int
}

// A Journal is open once per directory. It is safe for concurrent use.
type Journal struct {
	o     Options
	token chan struct{} // who holds it writes

	mu      sync.Mutex
	next    *group // what the next write brings
	sealed  []Segment
	fresh   int             // events of the newest segment, which is not sealed
	since   time.Time       // when the first of them came
	grown   chan struct{}   // closed by the next write; nil: nobody waits for it
	waiting int64           // bytes of sealed and taken segments
	taken   map[int64]int64 // segments that were taken and not released, by number: their sizes
	filled  chan struct{}   // closed when there is something to take
	closed  bool
	alone   sync.WaitGroup // segments of one event that are being written

	cur *segment // the token guards it
}

// A group is the events that one write brings.
type group struct {
	bytes  []byte
	events int
	done   chan struct{}
	refs   []Ref
	err    error
}

// Open finds what an earlier process left: its segments are sealed, and wait to
// be taken but for those that known says the ledger has already.
func Open(o Options, known func(number int64) bool) (*Journal, error) {
	if o.MaxSegment <= 0 {
		o.MaxSegment = 16 << 20
	}
	if o.MaxEvents <= 0 {
		o.MaxEvents = 10_000
	}
	if o.MaxWaiting <= 0 {
		o.MaxWaiting = 1 << 30
	}
	j := &Journal{o: o, token: make(chan struct{}, 1), next: newGroup(), taken: map[int64]int64{}, filled: make(chan struct{})}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	names, err := os.ReadDir(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	for _, n := range names {
		number, ok := numberOf(n.Name())
		if !ok || known(number) {
			continue
		}
		s, err := recoverSegment(filepath.Join(o.Dir, n.Name()), number)
		if err != nil {
			return nil, fmt.Errorf("open the journal: %w", err)
		}
		if s.Events > 0 {
			j.sealed = append(j.sealed, s)
			j.waiting += s.Size - int64(len(magic))
		}
	}
	slices.SortFunc(j.sealed, func(a, b Segment) int { return int(a.Number - b.Number) })
	if len(j.sealed) > 0 {
		close(j.filled)
	}
	return j, nil
}

func newGroup() *group { return &group{done: make(chan struct{})} }

// An Event is what is appended: what the receiver knows of it, and its bytes as
// they came.
type Event struct {
	Head []byte
	Body []byte
}

// Append stores the events of one request, all or none, and returns their
// names. It returns nil once they are on disk.
func (j *Journal) Append(ctx context.Context, events ...Event) ([]Ref, error) {
	if len(events) == 0 {
		return nil, nil
	}
	size := 0
	for _, e := range events {
		if err := checkSize(e.Head, e.Body); err != nil {
			return nil, err
		}
		size += len(e.Head) + len(e.Body)
	}
	g, first, err := j.join(events, size)
	if err != nil {
		return nil, err
	}
	for {
		select {
		case <-g.done:
			if g.err != nil {
				return nil, fmt.Errorf("store an event: %w", g.err)
			}
			return g.refs[first : first+len(events)], nil
		case j.token <- struct{}{}:
			// Nobody writes: this one does, for all that came meanwhile. It is
			// not broken off by its own sender, since others ride along.
			j.write(context.WithoutCancel(ctx))
			<-j.token
		}
	}
}

// AppendAlone stores one event in a segment of its own, which is sealed at once:
// it is an arrival by itself. It returns nil once the event is on disk.
func (j *Journal) AppendAlone(ctx context.Context, e Event) (Ref, error) {
	if err := checkSize(e.Head, e.Body); err != nil {
		return Ref{}, err
	}
	frame := appendEvent(nil, e.Head, e.Body, false)
	j.mu.Lock()
	switch {
	case j.closed:
		j.mu.Unlock()
		return Ref{}, ErrClosed
	case j.waiting+int64(len(frame)) > j.o.MaxWaiting:
		j.mu.Unlock()
		return Ref{}, ErrFull
	}
	j.waiting += int64(len(frame))
	j.alone.Add(1)
	j.mu.Unlock()
	defer j.alone.Done()
	s, err := j.writeAlone(ctx, frame)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		j.waiting -= int64(len(frame))
		return Ref{}, fmt.Errorf("store an event: %w", err)
	}
	j.sealed = append(j.sealed, s)
	j.tell()
	return Ref{Segment: s.Number, Index: 1}, nil
}

func (j *Journal) writeAlone(ctx context.Context, frame []byte) (Segment, error) {
	number, err := j.o.Reserve(ctx)
	if err != nil {
		return Segment{}, err
	}
	s, err := createSegment(filepath.Join(j.o.Dir, nameOf(number)), number)
	if err != nil {
		return Segment{}, err
	}
	defer s.close() // which removes it where nothing was written
	if err := s.append(frame, 1); err != nil {
		return Segment{}, err
	}
	return Segment{Number: number, Path: s.path, Size: s.size, Events: 1}, nil
}

// tell tells that there is something to take. j.mu is held.
func (j *Journal) tell() {
	select {
	case <-j.filled:
	default:
		close(j.filled)
	}
}

// join adds events to what the next write brings.
func (j *Journal) join(events []Event, size int) (g *group, first int, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.closed:
		return nil, 0, ErrClosed
	case j.waiting+int64(len(j.next.bytes)+size) > j.o.MaxWaiting:
		return nil, 0, ErrFull
	}
	g = j.next
	first = g.events
	for i, e := range events {
		g.bytes = appendEvent(g.bytes, e.Head, e.Body, i < len(events)-1)
	}
	g.events += len(events)
	return g, first, nil
}

// gather lets senders that are awake join: those of the last write have just
// been told and bring their next events. It yields as long as more come, which
// costs a lone sender nothing, and pays an fsync for sixty-four, not for one.
func (j *Journal) gather() {
	for n := -1; ; {
		j.mu.Lock()
		came := j.next.events
		j.mu.Unlock()
		if came == n {
			return
		}
		n = came
		runtime.Gosched()
	}
}

// write brings the next group to disk. The caller holds the token.
func (j *Journal) write(ctx context.Context) {
	j.gather()
	j.mu.Lock()
	g := j.next
	if g.events == 0 {
		j.mu.Unlock()
		return // another has just written it
	}
	j.next = newGroup()
	j.mu.Unlock()
	defer close(g.done)
	if j.cur != nil && (j.cur.size >= j.o.MaxSegment || j.cur.events >= j.o.MaxEvents) {
		j.seal()
	}
	if j.cur == nil {
		number, err := j.o.Reserve(ctx)
		if err != nil {
			g.err = err
			return
		}
		if j.cur, g.err = createSegment(filepath.Join(j.o.Dir, nameOf(number)), number); g.err != nil {
			return
		}
	}
	first := j.cur.events + 1
	if g.err = j.cur.append(g.bytes, g.events); g.err != nil {
		// What is on disk behind the last good event is unknown: no event is
		// ever written behind it.
		j.seal()
		return
	}
	g.refs = make([]Ref, g.events)
	for i := range g.refs {
		g.refs[i] = Ref{Segment: j.cur.number, Index: first + i}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.waiting += int64(len(g.bytes))
	if j.fresh == 0 {
		j.since = time.Now()
	}
	j.fresh = j.cur.events
	j.tell()
	if j.grown != nil {
		close(j.grown)
		j.grown = nil
	}
}

// seal ends the newest segment. The caller holds the token.
func (j *Journal) seal() {
	s := j.cur
	j.cur = nil
	s.close()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fresh = 0; s.events == 0 {
		return
	}
	j.sealed = append(j.sealed, Segment{Number: s.number, Path: s.path, Size: s.size, Events: s.events})
}

// Gather waits until the events that were not taken are worth it: the first of
// them has waited for others for as long as wait, or there are as many as most.
func (j *Journal) Gather(ctx context.Context, wait time.Duration, most int) error {
	for {
		j.mu.Lock()
		left := wait - time.Since(j.since)
		if len(j.sealed) > 0 || j.fresh >= most {
			left = 0
		}
		empty, filled := j.fresh+len(j.sealed) == 0, j.filled
		if left > 0 && j.grown == nil {
			j.grown = make(chan struct{})
		}
		grown := j.grown
		j.mu.Unlock()
		if empty {
			select {
			case <-filled:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if left <= 0 {
			return nil
		}
		timer := time.NewTimer(left)
		select {
		case <-grown:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// Take waits until there are events and returns the oldest segment that was not
// taken. The newest is sealed by that.
func (j *Journal) Take(ctx context.Context) (Segment, error) {
	for {
		j.mu.Lock()
		filled := j.filled
		j.mu.Unlock()
		select {
		case <-filled:
		case <-ctx.Done():
			return Segment{}, ctx.Err()
		}
		if s, ok, err := j.TryTake(ctx); ok || err != nil {
			return s, err
		}
	}
}

// TryTake is Take that does not wait for events.
func (j *Journal) TryTake(ctx context.Context) (Segment, bool, error) {
	if s, ok := j.pop(); ok {
		return s, true, nil
	}
	select {
	case j.token <- struct{}{}:
	case <-ctx.Done():
		return Segment{}, false, ctx.Err()
	}
	if j.cur != nil && j.cur.events > 0 {
		j.seal()
	}
	<-j.token
	s, ok := j.pop()
	return s, ok, nil
}

func (j *Journal) pop() (Segment, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.sealed) == 0 {
		return Segment{}, false
	}
	s := j.sealed[0]
	j.sealed = j.sealed[1:]
	j.taken[s.Number] = s.Size - int64(len(magic))
	if len(j.sealed)+j.fresh == 0 {
		j.filled = make(chan struct{})
	}
	return s, true
}

// Stored lists the numbers of segments that were not taken, rising. The newest,
// which is still written to, is not among them.
func (j *Journal) Stored() ([]int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil, ErrClosed
	}
	numbers := make([]int64, len(j.sealed))
	for i, s := range j.sealed {
		numbers[i] = s.Number
	}
	slices.Sort(numbers)
	return numbers, nil
}

// Untaken is how many events wait to be taken.
func (j *Journal) Untaken() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := j.fresh
	for i := range j.sealed {
		n += j.sealed[i].Events
	}
	return n
}

// Release says that nothing of a segment waits any more: it does not count as
// waiting. The file stays until it is pruned.
func (j *Journal) Release(number int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.waiting -= j.taken[number]
	delete(j.taken, number)
}

// Bound sets MaxWaiting anew; 0 leaves it as it is.
func (j *Journal) Bound(most int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if most > 0 {
		j.o.MaxWaiting = most
	}
}

// Waiting is the bytes that count against MaxWaiting.
func (j *Journal) Waiting() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.waiting
}

// Close lets no more events in, waits for the write that is under way and
// closes the newest segment. What was appended is there at the next Open.
func (j *Journal) Close() error {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	j.alone.Wait()
	j.token <- struct{}{}
	defer func() { <-j.token }()
	j.write(context.Background()) // what joined before
	if j.cur == nil {
		return nil
	}
	j.seal()
	return nil
}

const suffix = ".events"

func nameOf(number int64) string { return strconv.FormatInt(number, 10) + suffix }

func numberOf(name string) (int64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, ok && err == nil && n > 0 && nameOf(n) == name
}

// Path is where a segment of that number lies in dir.
func Path(dir string, number int64) string { return filepath.Join(dir, nameOf(number)) }

// Segments lists the numbers of a journal's segments, rising.
func Segments(dir string) ([]int64, error) {
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the journal: %w", err)
	}
	var out []int64
	for _, n := range names {
		if number, ok := numberOf(n.Name()); ok {
			out = append(out, number)
		}
	}
	slices.Sort(out)
	return out, nil
}
