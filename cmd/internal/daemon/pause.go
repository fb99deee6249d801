package daemon

import "time"

// Who may ask for a pause.
const (
	byDisk   = "disk"
	byPerson = "person"
	byRunNow = "run-now"
)

// pauses are why a line's source stands still. Guarded by the line's mu.
type pauses struct {
	why   map[string]string // by who asked
	at    time.Time         // since when
	until time.Time         // a person's pause ends by itself; zero: it does not
	timer *time.Timer
}

// pause stops the line's source. It goes on when nobody has a reason any more.
func (l *line) pause(who, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pauseLocked(who, reason)
}

func (l *line) pauseLocked(who, reason string) {
	if l.why == nil {
		l.why = map[string]string{}
	}
	if len(l.why) == 0 {
		l.at = time.Now()
	}
	l.why[who] = reason
	l.engine.Load().Pause(reason)
}

func (l *line) resume(who string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.resumeLocked(who)
}

func (l *line) resumeLocked(who string) {
	delete(l.why, who)
	if who == byPerson && l.timer != nil {
		l.timer.Stop()
		l.timer, l.until = nil, time.Time{}
	}
	for _, reason := range l.why {
		l.engine.Load().Pause(reason)
		return
	}
	l.engine.Load().Resume()
}

// pauseUntil is a person's pause; a zero until has no end.
func (l *line) pauseUntil(reason string, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.pauseLocked(byPerson, reason)
	if l.until = until; !until.IsZero() {
		l.timer = time.AfterFunc(time.Until(until), func() { l.resume(byPerson) })
	}
}

// inherit takes over a person's pause from the line that was before a reload.
func (l *line) inherit(was *line) {
	was.mu.Lock()
	reason, until := was.why[byPerson], was.until
	if was.timer != nil {
		was.timer.Stop()
	}
	was.mu.Unlock()
	if reason != "" && (until.IsZero() || until.After(time.Now())) {
		l.pauseUntil(reason, until)
	}
}
