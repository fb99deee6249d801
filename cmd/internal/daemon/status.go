package daemon

import (
	"cmp"
	"context"
	"os"
	"strings"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/admin"
)

// Status implements admin.Statuser.
func (d *Daemon) Status(ctx context.Context) (*admin.Status, error) {
	backlog, err := d.ledger.Backlog(ctx)
	if err != nil {
		return nil, err
	}
	waits := make(map[string]ingest.Backlog, len(backlog))
	for _, b := range backlog {
		waits[b.Pipeline] = b
	}
	d.mu.Lock()
	crew, running := d.crew, d.running
	d.mu.Unlock()
	s := &admin.Status{
		Pipelines: []admin.PipelineStatus{}, Sinks: []admin.SinkStatus{},
		Running: running, Version: d.o.Version, PID: os.Getpid(), StateDir: d.o.Config.StateDir, DiskLow: d.lowDisk(),
	}
	if running {
		s.StartedAt = moment(d.started)
	}
	s.SFTPServer = d.opened().status(d.drop)
	for _, l := range crew.lines {
		p := l.status(running)
		if b := waits[p.Name]; l.report != nil && b.NoReceipt != "" {
			p.Receipts = b.Receipts
			p.Error = cmp.Or(p.Error, "a receipt could not be written: "+b.NoReceipt)
		}
		p.backlog(waits[p.Name])
		if l.box != nil {
			p.Waiting += int64(l.box.journal.Untaken()) // events, which are no arrivals yet
		}
		p.Rate = d.meter.rate(p.Name)
		p.Blocked = l.blocked()
		if p.Waiting > 0 {
			p.Waits = l.waits()
		}
		p.ExpectedBy = l.expect.next(time.Now())
		s.Pipelines = append(s.Pipelines, p.PipelineStatus)
		delete(waits, p.Name)
	}
	for _, b := range backlog {
		if _, gone := waits[b.Pipeline]; gone && (b.Waiting > 0 || b.Held > 0 || b.Dead > 0) {
			p := lineStatus{admin.PipelineStatus{Name: b.Pipeline, State: "removed"}}
			p.backlog(b)
			if b.Waiting > 0 {
				p.Error = "the config has no such pipeline any more; its arrivals wait until it is back"
			}
			s.Pipelines = append(s.Pipelines, p.PipelineStatus)
		}
	}
	for i := range crew.cfg.Sinks {
		s.Sinks = append(s.Sinks, crew.sink(crew.cfg.Sinks[i].Name, running))
	}
	s.Alerts, err = d.openAlerts(ctx, running)
	return s, err
}

// The states of a sink, as engines name them; but for the first.
const (
	sinkUnknown  = "unknown" // nobody delivers
	sinkOK       = "ok"
	sinkWaiting  = "waiting" // for its hours
	sinkPaused   = "paused"
	sinkRetrying = "retrying"
	sinkStopped  = "stopped"
)

// sinksUp tells, by name, which sinks take records, or will at their hours.
func (d *Daemon) sinksUp() map[string]bool {
	crew := d.current()
	up := make(map[string]bool, len(crew.cfg.Sinks))
	for i := range crew.cfg.Sinks {
		name := crew.cfg.Sinks[i].Name
		state := crew.sink(name, true).State
		up[name] = state != sinkRetrying && state != sinkStopped
	}
	return up
}

// sink is how a sink does, for all lines together: as badly as for the one for
// which it does worst.
func (c *crew) sink(name string, running bool) admin.SinkStatus {
	worst := admin.SinkStatus{Name: name, State: sinkUnknown}
	if running {
		worst.State = sinkOK
	}
	rank := map[string]int{sinkUnknown: 0, sinkOK: 1, sinkWaiting: 2, sinkPaused: 3, sinkRetrying: 4, sinkStopped: 5}
	for _, l := range c.lines {
		l.mu.Lock()
		runs := l.runs
		l.mu.Unlock()
		for _, h := range l.engine.Load().Health() {
			if h.State == sinkOK && !runs {
				continue // nobody has asked it anything
			}
			if h.Sink == name && rank[h.State] > rank[worst.State] {
				worst.State, worst.Since, worst.Next, worst.Error = h.State, moment(h.Since), moment(h.Next), h.Reason
			}
		}
	}
	return worst
}

type lineStatus struct{ admin.PipelineStatus }

func (l *line) status(running bool) lineStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := lineStatus{admin.PipelineStatus{Name: l.cfg.Name, State: "idle", Since: moment(l.since)}}
	switch {
	case !l.runs:
		p.State = "stopped"
		if !running {
			p.Since = nil
		}
	case len(l.why) > 0:
		p.State, p.Since = "paused", moment(l.at)
		p.Error = cmp.Or(l.why[byDisk], l.why[byPerson])
	default:
		if e := l.engine.Load().Status(); e.Source != nil {
			p.State, p.Error, p.Since = "error", e.Source.Error(), moment(e.Since)
		} else if _, err := l.stuck(); err != nil { // it takes up all the same
			p.Error = err.Error()
		}
	}
	return p
}

// stuck is what ended files wait for that could not be put away, and since when.
func (l *line) stuck() (time.Time, error) {
	if s, ok := l.source.(interface{ Trouble() (time.Time, error) }); ok {
		return s.Trouble()
	}
	return time.Time{}, nil
}

func (p *lineStatus) backlog(b ingest.Backlog) {
	p.Waiting, p.Held, p.Dead = b.Waiting, b.Held, b.Dead
	p.LastArrival, p.LastName, p.LastState = moment(b.LastArrival), strings.ToValidUTF8(b.LastName, "\uFFFD"), string(b.LastState)
	if p.State == "idle" && b.Waiting > 0 {
		p.State = "running"
	}
	p.Error = cmp.Or(p.Error, b.LastError)
}

// waits says which sinks keep the line's records from moving.
func (l *line) waits() string {
	var why []string
	for _, h := range l.engine.Load().Health() {
		switch h.State {
		case sinkWaiting:
			why = append(why, h.Sink+" takes none outside its hours")
		case sinkPaused, sinkRetrying, sinkStopped:
			why = append(why, h.Sink+" is "+h.State)
		}
	}
	return strings.Join(why, ", ")
}

// blocked reports whether one of the line's sinks has kept its records from
// moving for so long that nobody should wait for it.
func (l *line) blocked() bool {
	for _, h := range l.engine.Load().Health() {
		switch h.State {
		case sinkStopped, sinkPaused, sinkWaiting:
			return true
		case sinkRetrying:
			for _, o := range l.sinks {
				if o.Name == h.Sink && time.Since(h.Since) > o.RetryMax {
					return true
				}
			}
		}
	}
	return false
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
