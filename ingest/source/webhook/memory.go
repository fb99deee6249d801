package webhook

import (
	"crypto/sha256"
	"sync"
	"time"

	"ingestd/ingest"
)

// A mark is what makes two requests the same event: a hash of what the sender
// calls it, or of its bytes.
type mark [16]byte

func markOf(kind string, text []byte) (m mark) {
	h := sha256.New()
	h.Write([]byte(kind))
	h.Write([]byte{0})
	h.Write(text)
	var sum [sha256.Size]byte
	copy(m[:], h.Sum(sum[:0]))
	return m
}

// A memory knows the events of a while ago by their marks. It is bounded in
// time and in number: the oldest go first, an eighth at a time, so that nothing
// is kept per event but its marks. Time is the monotonic clock's. It is safe for
// concurrent use.
type memory struct {
	start time.Time

	mu      sync.Mutex
	window  time.Duration
	most    int
	pending map[mark]*event // being stored
	ages    []age           // the oldest first
}

// An age is what was stored during a while.
type age struct {
	first, last time.Duration
	known       map[mark]stored
}

// stored is when an event came, since the memory's start, and what it is called.
type stored struct {
	at    time.Duration
	ref   ingest.Ref
	count int // of the events of one request, which follow ref
}

// An event is being stored, or was. Once done is closed, count says how many
// events the request brought to disk; none where that failed.
type event struct {
	at    time.Duration
	marks []mark
	done  chan struct{}
	ref   ingest.Ref
	count int
}

func newMemory(window time.Duration, most int) *memory {
	return &memory{start: time.Now(), window: window, most: most, pending: map[mark]*event{}}
}

// bound sets other bounds.
func (m *memory) bound(window time.Duration, most int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.window, m.most = window, most
}

// begin looks for an event with one of these marks. Where there is none it
// notes a new one, which the caller ends; otherwise it returns the one that was
// first.
func (m *memory) begin(now time.Time, marks []mark) (e *event, own bool) {
	at := now.Sub(m.start)
	if len(marks) == 0 {
		return &event{at: at}, true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire(at)
	for _, k := range marks {
		if e := m.pending[k]; e != nil {
			return e, false
		}
	}
	for _, k := range marks {
		if s, ok := m.find(k); ok && at-s.at <= m.window {
			e = &event{ref: s.ref, count: s.count, done: make(chan struct{})}
			close(e.done)
			return e, false
		}
	}
	e = &event{at: at, marks: marks, done: make(chan struct{})}
	for _, k := range marks {
		m.pending[k] = e
	}
	return e, true
}

// find looks for a mark, the newest first. m.mu is held.
func (m *memory) find(k mark) (stored, bool) {
	for i := len(m.ages) - 1; i >= 0; i-- {
		if s, ok := m.ages[i].known[k]; ok {
			return s, true
		}
	}
	return stored{}, false
}

// end says what became of the caller's event: count events are stored, none
// where that failed, which makes it forgotten.
func (m *memory) end(e *event, ref ingest.Ref, count int) {
	if len(e.marks) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range e.marks {
		delete(m.pending, k)
		if count > 0 {
			m.add(k, stored{at: e.at, ref: ref, count: count})
		}
	}
	e.ref, e.count = ref, count
	close(e.done)
}

// add notes that an event was stored. m.mu is held.
func (m *memory) add(k mark, s stored) {
	n := len(m.ages)
	if n == 0 || len(m.ages[n-1].known) >= max(1, m.most/8) || s.at-m.ages[n-1].first > m.window/8 {
		m.ages = append(m.ages, age{first: s.at, known: map[mark]stored{}})
		n++
		all := 0
		for i := range m.ages {
			all += len(m.ages[i].known)
		}
		for n > 1 && all+max(1, m.most/8) > m.most {
			all -= len(m.ages[0].known)
			m.ages = append([]age(nil), m.ages[1:]...)
			n--
		}
	}
	a := &m.ages[n-1]
	a.known[k] = s
	a.last = max(a.last, s.at)
}

// forget lets an event be taken again that was stored as ref.
func (m *memory) forget(marks []mark, ref ingest.Ref) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.ages {
		for _, k := range marks {
			if s, ok := a.known[k]; ok && s.ref == ref {
				delete(a.known, k)
			}
		}
	}
}

// restore notes an event that an earlier process stored so long ago. Events of
// one request follow each other.
func (m *memory) restore(now time.Time, ago time.Duration, marks []mark, ref ingest.Ref) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ago > m.window {
		return
	}
	at := now.Sub(m.start) - max(ago, 0)
	for _, k := range marks {
		s, ok := m.find(k)
		if ok && s.ref.Arrival == ref.Arrival && s.ref.Event+s.count == ref.Event {
			s.count++ // another file of its request
		} else {
			s = stored{at: at, ref: ref, count: 1}
		}
		m.forgetAll(k)
		m.add(k, s)
	}
}

func (m *memory) forgetAll(k mark) {
	for _, a := range m.ages {
		delete(a.known, k)
	}
}

// expire drops what is older than the window. m.mu is held.
func (m *memory) expire(at time.Duration) {
	for len(m.ages) > 0 && at-m.ages[0].last > m.window {
		m.ages = append([]age(nil), m.ages[1:]...)
	}
}

// len is the number of marks.
func (m *memory) len() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.ages {
		n += len(a.known)
	}
	return n + len(m.pending)
}
