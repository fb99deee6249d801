package alert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/ingest"
)

// A book is an AlertBook in memory.
type book struct {
	mu   sync.Mutex
	rows map[place]ingest.OpenAlert
}

func newBook() *book { return &book{rows: map[place]ingest.OpenAlert{}} }

func (b *book) OpenAlerts(context.Context) ([]ingest.OpenAlert, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Values(b.rows)), nil
}

func (b *book) SaveAlerts(_ context.Context, save, forget []ingest.OpenAlert) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range forget {
		delete(b.rows, place{a.To, a.Key})
	}
	for _, a := range save {
		b.rows[place{a.To, a.Key}] = a
	}
	return nil
}

func (b *book) WatchedSince(context.Context, string, string, time.Time) (time.Time, error) {
	return time.Time{}, errors.ErrUnsupported
}

// A chat is a sink that remembers what it was told.
type chat struct {
	mu   sync.Mutex
	got  []Notice
	at   []time.Time
	keys map[string]int
	err  error
	hang bool
}

func (c *chat) Send(ctx context.Context, r *ingest.Request) (ingest.Answer, error) {
	c.mu.Lock()
	hang := c.hang
	c.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ingest.Answer{}, ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return ingest.Answer{}, c.err
	}
	var n Notice
	if err := json.Unmarshal(r.Body, &n); err != nil {
		return ingest.Answer{}, err
	}
	if c.keys == nil {
		c.keys = map[string]int{}
	}
	c.keys[r.Key]++
	c.got, c.at = append(c.got, n), append(c.at, time.Now())
	return ingest.Answer{Status: 200}, nil
}

func (c *chat) set(err error, hang bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err, c.hang = err, hang
}

// said takes what was told since it was asked last.
func (c *chat) said() []Notice {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.got
	c.got = nil
	return got
}

// A scene is what is the case, and who is told.
type scene struct {
	t     *testing.T
	mu    sync.Mutex
	facts []Fact
	err   error
	book  *book
	log   *strings.Builder
}

func newScene(t *testing.T) *scene { return &scene{t: t, book: newBook(), log: &strings.Builder{}} }

func (s *scene) set(facts ...Fact) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.facts = facts
}

// start runs a teller; stop ends it, as a process ends.
func (s *scene) start(routes ...Route) (tell *Teller, stop func()) {
	s.t.Helper()
	tell = New(Options{Book: s.book, Host: "box", Log: slog.New(slog.NewTextHandler(s.log, nil)), Look: func(context.Context) ([]Fact, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.Clone(s.facts), s.err
	}})
	tell.Configure(routes, "http://127.0.0.1:8081/")
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { tell.Run(ctx) })
	return tell, func() { cancel(); wg.Wait() }
}

func route(t *testing.T, to string, c *chat) Route {
	t.Helper()
	b, err := NewBody("object", "")
	if err != nil {
		t.Fatal(err)
	}
	return Route{To: to, Sink: c, Body: b, Remind: 4 * time.Hour}
}

func down() Fact {
	return TargetFact("crm", "503 Service Unavailable", false, []string{"orders"}, 3, time.Now())
}

func heldFact(pipeline string, ids ...int64) Fact {
	var held []ingest.Arrival
	for _, id := range ids {
		held = append(held, ingest.Arrival{ID: id, Found: ingest.Found{Name: fmt.Sprintf("f%d.csv", id), FoundAt: time.Now()}, Error: "no key"})
	}
	return HeldFact(pipeline, held)
}

func want(t *testing.T, got []Notice, texts ...string) {
	t.Helper()
	var shown []string
	for _, n := range got {
		shown = append(shown, fmt.Sprintf("%s over=%v %s", n.Kind, n.Over, n.Message))
	}
	if len(got) != len(texts) {
		t.Fatalf("%d notices, want %d:\n%s", len(got), len(texts), strings.Join(shown, "\n"))
	}
	for i := range texts {
		if !strings.Contains(shown[i], texts[i]) {
			t.Errorf("notice %d: %s\nwant %q", i, shown[i], texts[i])
		}
	}
}

func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestOnceRemindedAndOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newScene(t), &chat{}
		_, stop := s.start(route(t, "chat", c))
		defer stop()
		s.set(down())
		sleep(50 * time.Second)
		want(t, c.said()) // it may be a hiccup
		sleep(30 * time.Second)
		want(t, c.said(), "target over=false box: the target of sink crm does not take records: 503 Service Unavailable; 3 files wait")
		sleep(3 * time.Hour)
		want(t, c.said())
		sleep(time.Hour)
		want(t, c.said(), "Still: ")
		s.set()
		sleep(4 * time.Minute)
		want(t, c.said()) // it may not last
		sleep(2 * time.Minute)
		want(t, c.said(), "target over=true box: Over: the target of sink crm")
		sleep(24 * time.Hour)
		want(t, c.said())
		if len(s.book.rows) != 0 {
			t.Errorf("the book still has %v", s.book.rows)
		}
	})
}

func TestFieldsOfANotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newScene(t), &chat{}
		_, stop := s.start(route(t, "chat", c))
		defer stop()
		s.set(heldFact("orders", 4711))
		sleep(10 * time.Second)
		got := c.said()
		want(t, got, "held over=false box: orders: the file f4711.csv is held and nothing of it was sent: no key (since 2000-01-01 00:00 UTC)")
		n := got[0]
		n.Message = ""
		if n != (Notice{
			Kind: "held", Severity: "warning", Pipeline: "orders", Arrival: "4711", Name: "f4711.csv",
			Action: "look: ingestd show 4711; then take it as it is: ingestd release 4711; or refuse it: ingestd reject 4711",
			Since:  "2000-01-01T00:00:00Z", URL: "http://127.0.0.1:8081/",
		}) {
			t.Errorf("%+v", n)
		}
	})
}

func TestFlappingIsOneAlert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newScene(t), &chat{}
		_, stop := s.start(route(t, "chat", c))
		defer stop()
		for range 60 { // two hours of two minutes down, two up... well within the time to be over
			s.set(down())
			sleep(2 * time.Minute)
			s.set()
			sleep(2 * time.Minute)
		}
		sleep(10 * time.Minute)
		want(t, c.said(), "over=false", "over=true")
		// Slower, it must be gone for longer and longer.
		for range 24 {
			s.set(down())
			sleep(2 * time.Minute)
			s.set()
			sleep(8 * time.Minute)
		}
		if n := len(c.said()); n > 6 {
			t.Errorf("%d notices in four hours", n)
		}
	})
}

func TestRestartRepeatsAndForgetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newScene(t), &chat{}
		s.set(heldFact("orders", 1), heldFact("bills", 2))
		_, stop := s.start(route(t, "chat", c))
		sleep(10 * time.Second)
		want(t, c.said(), "held", "held")
		stop()
		s.set(heldFact("orders", 1)) // the other was released meanwhile
		_, stop = s.start(route(t, "chat", c))
		defer stop()
		sleep(2 * time.Minute)
		want(t, c.said(), "held over=true box: Over: bills")
		sleep(4 * time.Hour)
		want(t, c.said(), "Still: orders")
	})
}

func TestCrashBeforeTheBookTellsUnderTheSameKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newScene(t), &chat{}
		s.set(heldFact("orders", 1))
		_, stop := s.start(route(t, "chat", c))
		sleep(6 * time.Second)
		stop()
		for at, a := range s.book.rows { // as it was before the answer was stored
			a.Said, a.Told, a.Mark = 0, time.Time{}, 0
			s.book.rows[at] = a
		}
		_, stop = s.start(route(t, "chat", c))
		defer stop()
		sleep(6 * time.Second)
		if len(c.keys) != 1 || len(c.got) != 2 {
			t.Errorf("%d notices under the keys %v", len(c.got), c.keys)
		}
	})
}

func TestMoreOfTheSameIsOneAlert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newScene(t), &chat{}
		_, stop := s.start(route(t, "chat", c))
		defer stop()
		var n int64
		for range 100 { // eight minutes of dead letters
			n += 10_000
			s.set(DeadFact("orders", n, nil, time.Now(), n))
			sleep(5 * time.Second)
		}
		want(t, c.said(), "10000 records")
		sleep(2 * time.Minute)
		want(t, c.said(), "1000000 records could not be delivered")
		sleep(time.Hour)
		want(t, c.said())
	})
}

func TestWorseIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newScene(t), &chat{}
		_, stop := s.start(route(t, "chat", c))
		defer stop()
		s.set(DiskFact("/srv", 300<<20, 200<<20, false, time.Now()))
		sleep(time.Minute)
		s.set(DiskFact("/srv", 100<<20, 200<<20, true, time.Now()))
		sleep(10 * time.Second)
		s.set(DiskFact("/srv", 300<<20, 200<<20, false, time.Now()))
		sleep(time.Hour)
		want(t, c.said(), "filling up", "nearly full")
	})
}

func TestStormIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newScene(t), &chat{}
		tell, stop := s.start(route(t, "chat", c))
		defer stop()
		var facts []Fact
		for i := range maxOpen/2 + 100 {
			f := heldFact(fmt.Sprint("p", i), int64(i+1))
			if i == 4 {
				f.Severity = Critical
			}
			facts = append(facts, f)
		}
		s.set(facts...)
		sleep(time.Minute)
		got := c.said()
		if len(got) > burst+2 || len(got) < burst {
			t.Errorf("%d notices in a minute", len(got))
		}
		if got[0].Severity != "critical" {
			t.Error("the worst does not come first")
		}
		if n := len(tell.Open()); n > maxOpen {
			t.Errorf("%d are open", n)
		}
		sleep(5 * time.Minute)
		if n := len(c.said()); n > 12 {
			t.Errorf("%d notices in five minutes", n)
		}
	})
}

func TestSinkThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, mail := newScene(t), &chat{}, &chat{}
		c.set(errors.New("connection refused"), false)
		tell, stop := s.start(route(t, "chat", c), route(t, "mail", mail))
		defer stop()
		s.set(heldFact("orders", 1), TargetFact("chat", "down", false, []string{"orders"}, 1, time.Now()))
		sleep(10 * time.Minute)
		want(t, mail.said(), "held", "target over=false box: the target of sink chat", "alerts over=false box: alerts cannot be sent through sink chat")
		if err := tell.Mute(); err != nil {
			t.Error("mail works:", err)
		}
		c.set(nil, false)
		sleep(6 * time.Minute)
		want(t, c.said(), "held") // and nothing about itself
		want(t, mail.said(), "alerts over=true")
		if n := strings.Count(s.log.String(), "cannot tell"); n != 1 {
			t.Errorf("logged %d times", n)
		}
	})
}

func TestWhatCameAndWentWhileTheSinkWasDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newScene(t), &chat{}
		c.set(nil, true) // it does not even answer
		tell, stop := s.start(route(t, "chat", c))
		defer stop()
		s.set(heldFact("orders", 1))
		sleep(time.Minute)
		s.set()
		sleep(30 * time.Minute)
		if tell.Mute() == nil {
			t.Error("nothing can be told")
		}
		c.set(nil, false)
		sleep(10 * time.Minute)
		want(t, c.said(), "this could not be sent earlier")
	})
}

func TestRefusedNoticeDoesNotBlockOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newScene(t), &chat{}
		c.set(&ingest.Reject{Reason: "400", Answer: ingest.Answer{Status: 400, Body: "no channel"}}, false)
		_, stop := s.start(route(t, "chat", c))
		defer stop()
		s.set(heldFact("orders", 1))
		sleep(5 * time.Minute)
		c.set(nil, false)
		s.set(heldFact("orders", 1), heldFact("bills", 1))
		sleep(time.Minute)
		want(t, c.said(), "bills")
		if !strings.Contains(s.log.String(), "no channel") {
			t.Error("the answer was not logged")
		}
	})
}

func TestWhoIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, d := newScene(t), &chat{}, &chat{}
		orders, disks := route(t, "chat", c), route(t, "mail", d)
		orders.Pipelines, disks.Kinds = []string{"orders"}, []string{"disk"}
		tell, stop := s.start(orders, disks)
		defer stop()
		s.set(heldFact("orders", 1), heldFact("bills", 2), DiskFact("/srv", 1<<20, 2<<20, true, time.Now()))
		sleep(time.Minute)
		want(t, c.said(), "disk", "held")
		want(t, d.said(), "disk")
		if n := len(tell.Open()); n != 3 {
			t.Errorf("status shows %d", n)
		}
		// Who does not want it any more is not told that it is over.
		orders.Kinds = []string{"dead"}
		tell.Configure([]Route{orders}, "")
		sleep(time.Hour)
		want(t, c.said())
		want(t, d.said())
		if len(s.book.rows) != 0 {
			t.Errorf("the book still has %v", s.book.rows)
		}
	})
}

func TestNothingIsOverWhileNobodyCanLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newScene(t), &chat{}
		_, stop := s.start(route(t, "chat", c))
		defer stop()
		s.set(heldFact("orders", 1))
		sleep(time.Minute)
		s.mu.Lock()
		s.err = errors.New("the ledger broke")
		s.mu.Unlock()
		sleep(time.Hour)
		want(t, c.said(), "held over=false")
		if n := strings.Count(s.log.String(), "cannot look"); n != 1 {
			t.Errorf("logged %d times", n)
		}
	})
}

func TestTest(t *testing.T) {
	c, d := &chat{}, &chat{}
	d.err = &ingest.Halt{Reason: "401: mend auth", Answer: ingest.Answer{Status: 401, Body: "who are you?"}}
	tell := New(Options{Book: newBook(), Host: "box", Log: slog.New(slog.DiscardHandler)})
	tell.Configure([]Route{route(t, "chat", c), route(t, "chat", c), route(t, "mail", d)}, "")
	got := tell.Test(t.Context())
	if !slices.Equal(got, []Result{{Sink: "chat", Status: 200}, {Sink: "mail", Status: 401, Answer: "who are you?", Error: "401: mend auth"}}) {
		t.Errorf("%+v", got)
	}
	want(t, c.said(), "test over=false box: this is a test")
}

// One look with a thousand open alerts and ten who are told.
func BenchmarkLook(b *testing.B) {
	var facts []Fact
	for i := range 1000 {
		facts = append(facts, DeadFact(fmt.Sprint("p", i), 10, nil, time.Unix(1, 0), 1))
	}
	var routes []Route
	for i := range 10 {
		routes = append(routes, Route{To: fmt.Sprint("chat", i), Sink: &chat{}, Body: &Body{}, Pipelines: []string{"p7"}})
	}
	tell := New(Options{Book: newBook(), Log: slog.New(slog.DiscardHandler), Look: func(context.Context) ([]Fact, error) { return facts, nil }})
	tell.Configure(routes, "")
	for b.Loop() {
		tell.look(b.Context())
	}
}
