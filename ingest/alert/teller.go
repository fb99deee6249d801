package alert

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"ingestd/ingest"
)

const (
	// lookEvery is how often Options.Look is asked.
	lookEvery = 5 * time.Second
	// regroup is how long more of the same waits for still more.
	regroup = 10 * time.Minute
	// calm is how long an alert that was over is remembered: coming back within
	// it, it must be gone for longer each time to be over again.
	calm      = time.Hour
	maxStable = time.Hour
	// cannotLook is what is logged then.
	cannotLook = "cannot look what needs a person; nothing new is told until that works"
	// maxOpen bounds the open alerts, of all sinks together.
	maxOpen = 2000
	// saveWithin bounds one write to the book.
	saveWithin = 5 * time.Second
)

// A Route is one who is told.
type Route struct {
	To        string      // the sink's name
	Sink      ingest.Sink // never nil
	Body      *Body
	Pipelines []string // empty: all
	Kinds     []string // empty, or "all": all
	Remind    time.Duration
	Timeout   time.Duration // of one try
}

// wants reports whether the route is told of f.
func (r *Route) wants(f *Fact) bool {
	if (f.Kind == Target || f.Kind == Refused || f.Kind == Alerts) && f.Subject == r.To {
		return false // it cannot tell that it cannot tell
	}
	if len(r.Kinds) > 0 && !slices.Contains(r.Kinds, "all") && !slices.Contains(r.Kinds, string(f.Kind)) {
		return false
	}
	return len(r.Pipelines) == 0 || len(f.Pipelines) == 0 ||
		slices.ContainsFunc(f.Pipelines, func(p string) bool { return slices.Contains(r.Pipelines, p) })
}

// Options are what a Teller works with.
type Options struct {
	Book ingest.AlertBook
	// Look says what is the case now. With an error nothing is known, and
	// nothing is over.
	Look func(ctx context.Context) ([]Fact, error)
	Host string // of this machine, named in each message; "" = not named
	Log  *slog.Logger
	// Haste divides all waiting but that for reminders, for demonstrations and
	// tests; 0 = 1.
	Haste int
}

// A Teller tells people what needs one of them. Its methods are safe for
// concurrent use.
type Teller struct {
	o    Options
	wake chan struct{}

	saving sync.Mutex // one write after the other, so that the last one counts

	mu      sync.Mutex
	routes  []Route
	url     string
	mouths  map[string]*mouth
	entries map[place]*entry
	read    bool   // the book was
	full    bool   // it was said that there are too many
	ailing  string // what was complained of last
}

// A place is where an alert stands in the book.
type place struct{ to, key string }

// here is who is told without being sent anything: the status screen.
const here = ""

// An entry is an alert that is open, or was until lately.
type entry struct {
	ingest.OpenAlert
	worst int       // rank of the severity that was told
	more  int64     // the newest mark
	gone  time.Time // since when it is not the case any more; zero: it is
	over  time.Time // when its end was told, or was not worth it
	flaps int       // how often it came back
	tried bool      // to tell it
	dirty bool      // the book does not have this
	busy  bool      // being told
}

// New makes a teller. It starts nothing.
func New(o Options) *Teller {
	return &Teller{o: o, wake: make(chan struct{}, 1), mouths: map[string]*mouth{}, entries: map[place]*entry{}}
}

func (t *Teller) quick(d time.Duration) time.Duration { return d / time.Duration(max(t.o.Haste, 1)) }

// Configure says who is told from now on, and the address that notices carry.
func (t *Teller) Configure(routes []Route, url string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.routes, t.url = routes, url
	for _, r := range routes {
		if t.mouths[r.To] == nil {
			t.mouths[r.To] = &mouth{tokens: burst}
		}
	}
	maps.DeleteFunc(t.mouths, func(to string, _ *mouth) bool {
		return !slices.ContainsFunc(routes, func(r Route) bool { return r.To == to })
	})
}

// Run looks and tells until ctx ends, and waits for what is being sent.
func (t *Teller) Run(ctx context.Context) {
	var sending sync.WaitGroup
	defer sending.Wait()
	tick := time.NewTicker(t.quick(lookEvery))
	defer tick.Stop()
	for {
		t.look(ctx)
		for looked := false; !looked; {
			t.speak(ctx, &sending)
			select {
			case <-ctx.Done():
				return
			case <-t.wake:
			case <-tick.C:
				looked = true
			}
		}
	}
}

// look takes in what is the case now.
func (t *Teller) look(ctx context.Context) {
	t.mu.Lock()
	read := t.read
	t.mu.Unlock()
	if !read {
		rows, err := t.o.Book.OpenAlerts(ctx)
		if err != nil {
			t.complain(ctx, "what was told before cannot be read", err)
			return
		}
		t.takeOver(rows)
	}
	facts, err := t.o.Look(ctx)
	if err != nil {
		t.complain(ctx, cannotLook, err)
		return
	}
	now := time.Now()
	t.mu.Lock()
	if t.ailing == cannotLook {
		t.ailing = ""
	}
	facts = append(facts, t.mute(now)...)
	t.compare(facts, now)
	t.mu.Unlock()
	t.save(ctx)
}

// complain logs what keeps the teller from its work, once until it is another
// thing or nothing.
func (t *Teller) complain(ctx context.Context, what string, err error) {
	t.mu.Lock()
	was := t.ailing
	t.ailing = what
	t.mu.Unlock()
	if ctx.Err() == nil && what != was && what != "" {
		t.o.Log.Error("alerts: "+what, "error", err)
	}
}

// takeOver goes on with what another process told.
func (t *Teller) takeOver(rows []ingest.OpenAlert) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range rows {
		e := &entry{OpenAlert: a, more: a.Mark}
		if a.Said > 0 {
			e.worst = rank(&a)
		}
		t.entries[place{a.To, a.Key}] = e
		shown := &entry{OpenAlert: a}
		shown.To, shown.Told, shown.Said, shown.Mark = here, time.Time{}, 0, 0
		t.entries[place{here, a.Key}] = shown
	}
	t.read = true
}

// mute is about those who could not tell for a while.
func (t *Teller) mute(now time.Time) []Fact {
	var out []Fact
	for to, m := range t.mouths {
		if !m.failing.IsZero() && now.Sub(m.failing) >= t.quick(muteAfter) {
			out = append(out, alertsFact(to, m.why, m.failing))
		}
	}
	return out
}

// compare brings the entries in line with the facts.
func (t *Teller) compare(facts []Fact, now time.Time) {
	seen := map[place]bool{}
	for i := range facts {
		f := &facts[i]
		key := f.key()
		t.note(place{here, key}, f, now)
		seen[place{here, key}] = true
		for j := range t.routes {
			at := place{t.routes[j].To, key}
			if t.routes[j].wants(f) && !seen[at] {
				t.note(at, f, now)
				seen[at] = true
			}
		}
	}
	for at, e := range t.entries {
		switch {
		case seen[at] || !e.over.IsZero() || e.busy:
			continue
		case at.to != here && (t.mouths[at.to] == nil || seen[place{here, at.key}]):
			e.end(now) // who was told is not any more, or is not told of such
			continue
		case e.gone.IsZero():
			e.gone = now
		}
		if at.to == here || e.Said == 0 && !e.tried {
			e.end(now) // nobody knows of it
		}
	}
}

func (e *entry) end(now time.Time) { e.over, e.dirty = now, true }

// key names what a fact is about.
func (f *Fact) key() string {
	kind := f.Kind
	switch kind {
	case Refused: // what began as one of them often goes on as the other
		kind = Target
	case Missing:
		kind = Late
	}
	return string(kind) + "/" + strings.Join(f.scope(), ",") + "/" + f.Subject
}

// scope is the pipelines that are part of what a fact is about: a target or a
// disk is the same one, whatever waits for it.
func (f *Fact) scope() []string {
	if f.Subject != "" && len(f.Pipelines) != 1 || f.Kind == Target || f.Kind == Refused || f.Kind == Certificate {
		return nil
	}
	return f.Pipelines
}

// note says that a fact is the case.
func (t *Teller) note(at place, f *Fact, now time.Time) {
	e := t.entries[at]
	switch {
	case e == nil:
		if len(t.entries) >= maxOpen {
			if !t.full {
				t.full = true
				t.o.Log.Error("alerts: too many are open; further ones are not told", "most", maxOpen)
			}
			return
		}
		e = &entry{OpenAlert: ingest.OpenAlert{To: at.to, Key: at.key, Opened: now}}
		t.entries[at] = e
	case !e.over.IsZero():
		e.OpenAlert = ingest.OpenAlert{To: at.to, Key: at.key, Opened: now}
		e.flaps, e.worst, e.tried, e.over, e.more = e.flaps+1, 0, false, time.Time{}, 0
	}
	was := e.OpenAlert
	e.gone = time.Time{}
	e.Kind, e.Severity, e.Pipeline = string(f.Kind), string(f.Severity), strings.Join(f.Pipelines, ", ")
	e.Arrival, e.Name, e.Message, e.Action, e.Since = f.Arrival, f.Name, f.Message, f.Action, f.Since
	if e.Since.IsZero() {
		e.Since = e.Opened
	}
	if was.Kind != "" && was.Since.Before(e.Since) {
		e.Since = was.Since // it began then, whatever has come since
	}
	e.Since = e.Since.Truncate(time.Microsecond)
	e.more = max(e.more, f.Mark)
	// What changes with each look (how many wait) is not worth a commit.
	e.dirty = e.dirty || was.Kind == "" || was.Arrival != e.Arrival || was.Severity != e.Severity
}

// save brings the book up to date, and forgets what is over for long.
func (t *Teller) save(ctx context.Context) {
	t.saving.Lock()
	defer t.saving.Unlock()
	now := time.Now()
	var save, forget []ingest.OpenAlert
	var changed []*entry
	t.mu.Lock()
	for at, e := range t.entries {
		if !e.over.IsZero() && now.Sub(e.over) > t.quick(calm) && !e.dirty {
			delete(t.entries, at)
			continue
		}
		if !e.dirty || at.to == here {
			e.dirty = false
			continue
		}
		changed = append(changed, e)
		e.dirty = false
		if e.over.IsZero() {
			save = append(save, e.OpenAlert)
		} else {
			forget = append(forget, e.OpenAlert)
		}
	}
	t.full = t.full && len(t.entries) >= maxOpen
	t.mu.Unlock()
	if len(changed) == 0 {
		return
	}
	// What was said is written also when everything stops.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveWithin)
	defer cancel()
	err := t.o.Book.SaveAlerts(ctx, save, forget)
	if err == nil {
		t.complain(ctx, "", nil)
	} else {
		t.complain(ctx, "what was told cannot be stored; it may be told again after a restart", err)
		t.mu.Lock()
		for _, e := range changed {
			e.dirty = true
		}
		t.mu.Unlock()
	}
}

// Open lists what needs a person now, the worst first.
func (t *Teller) Open() []ingest.OpenAlert {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []ingest.OpenAlert
	for at, e := range t.entries {
		if at.to == here && e.over.IsZero() {
			out = append(out, e.OpenAlert)
		}
	}
	SortOpen(out)
	return out
}

// rank says how bad an alert is: one that only a person can end is a little
// worse.
func rank(a *ingest.OpenAlert) int {
	r := 2 * Severity(a.Severity).rank()
	if Kind(a.Kind) == Refused {
		r++
	}
	return r
}

// SortOpen puts the worst first, and of those the oldest.
func SortOpen(list []ingest.OpenAlert) {
	slices.SortFunc(list, func(a, b ingest.OpenAlert) int {
		return cmp.Or(cmp.Compare(rank(&b), rank(&a)), a.Since.Compare(b.Since), cmp.Compare(a.Key, b.Key), cmp.Compare(a.To, b.To))
	})
}

// Told lists what some sink has told and not yet taken back, by key: what a
// process that ended before may have said, too.
func (t *Teller) Told() map[string]ingest.OpenAlert {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := map[string]ingest.OpenAlert{}
	for at, e := range t.entries {
		if at.to != here && e.Said > 0 && e.over.IsZero() {
			out[at.key] = e.OpenAlert
		}
	}
	return out
}
