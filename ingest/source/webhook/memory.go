package webhook

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"time"
)

// A mark is what makes two requests the same event: a hash of what the sender
// calls it, or of its bytes.
type mark [16]byte

func markOf(kind string, text []byte) (m mark) {
	h := sha256.New()
	h.Write([]byte(kind))
	h.Write([]byte{0})
	h.Write(text)
	copy(m[:], h.Sum(nil))
	return m
}

// A memory knows the events of a while ago by their marks. It is bounded in
// time and in number, the oldest go first. It is safe for concurrent use.
type memory struct {
	window time.Duration
	most   int

	mu    sync.Mutex
	known map[mark]*list.Element
	order *list.List // of *event, the oldest first
}

// An event that is being stored, or was. done is closed when it was; refs is
// empty where that failed.
type event struct {
	at    time.Time
	marks []mark
	done  chan struct{}
	refs  []string
}

func newMemory(window time.Duration, most int) *memory {
	return &memory{window: window, most: most, known: map[mark]*list.Element{}, order: list.New()}
}

// begin looks for an event with one of these marks. Where there is none it
// notes a new one, which the caller ends; otherwise it returns the one that
// was first.
func (m *memory) begin(now time.Time, marks []mark) (e *event, first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire(now)
	for _, k := range marks {
		if el := m.known[k]; el != nil {
			return el.Value.(*event), false
		}
	}
	e = &event{at: now, marks: marks, done: make(chan struct{})}
	m.add(e)
	return e, true
}

// add notes an event. m.mu is held.
func (m *memory) add(e *event) {
	if len(e.marks) == 0 {
		return
	}
	el := m.order.PushBack(e)
	for _, k := range e.marks {
		m.known[k] = el
	}
}

// end says what became of an event: refs are its names, none where it was not
// stored, which makes it forgotten.
func (m *memory) end(e *event, refs []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.refs = refs; len(refs) == 0 {
		m.remove(e)
	}
	close(e.done)
}

// forget lets an event be taken again.
func (m *memory) forget(e *event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remove(e)
}

func (m *memory) remove(e *event) {
	for _, k := range e.marks {
		if el := m.known[k]; el != nil && el.Value == e {
			delete(m.known, k)
			m.order.Remove(el)
		}
	}
}

// restore notes an event that an earlier process stored.
func (m *memory) restore(at time.Time, marks []mark, ref string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range marks {
		if el := m.known[k]; el != nil {
			el.Value.(*event).refs = append(el.Value.(*event).refs, ref) // another file of one request
			return
		}
	}
	e := &event{at: at, marks: marks, done: make(chan struct{}), refs: []string{ref}}
	close(e.done)
	m.add(e)
}

// expire drops what is older than the window, and beyond the most. m.mu is
// held.
func (m *memory) expire(now time.Time) {
	for el := m.order.Front(); el != nil; el = m.order.Front() {
		e := el.Value.(*event)
		if now.Sub(e.at) <= m.window && m.order.Len() < m.most {
			return
		}
		m.remove(e)
		if m.order.Front() == el {
			m.order.Remove(el) // its marks lead to a later one
		}
	}
}
