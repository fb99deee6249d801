package daemon

import (
	"context"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/admin"
	"ingestd/ingest/pipeline"
)

// pausedByPerson is what status says of a pause.
const pausedByPerson = "paused by a person"

// Pause implements admin.Control.
func (d *Daemon) Pause(ctx context.Context, name string, until time.Time) error {
	l, err := d.steered(name)
	if err != nil {
		return err
	}
	now := time.Now()
	if !until.IsZero() && !until.After(now) {
		return admin.Invalid("%s is over already", until.Format(time.RFC3339))
	}
	p := ingest.Pause{Sink: l == nil, Name: name, Since: now, Until: until}
	if err := d.ledger.SetPause(ctx, p); err != nil {
		return err
	}
	if l != nil {
		l.pauseUntil(pauseReason(&p), until)
		d.log.Info("pipeline paused", "pipeline", name, "until", until)
		return nil
	}
	d.steerSink(p)
	d.log.Info("deliveries to a sink are paused", "sink", name, "until", until)
	return nil
}

// pauseReason is why a pipeline does nothing.
func pauseReason(p *ingest.Pause) string {
	if p.Until.IsZero() {
		return pausedByPerson
	}
	return pausedByPerson + " until " + p.Until.UTC().Format(time.RFC3339)
}

// Resume implements admin.Control.
func (d *Daemon) Resume(ctx context.Context, name string) error {
	l, err := d.steered(name)
	if err != nil {
		return err
	}
	now := time.Now()
	if err := d.ledger.SetPause(ctx, ingest.Pause{Sink: l == nil, Name: name, Since: now, Ended: now}); err != nil {
		return err
	}
	if l != nil {
		l.resume(byPerson)
		d.log.Info("pipeline goes on", "pipeline", name)
		return nil
	}
	d.steerSink(ingest.Pause{Sink: true, Name: name, Ended: now})
	d.log.Info("deliveries to a sink go on", "sink", name)
	return nil
}

// steered is the pipeline of that name, in a daemon that runs; nil where it is a
// sink's.
func (d *Daemon) steered(name string) (*line, error) {
	d.mu.Lock()
	crew, running := d.crew, d.running
	d.mu.Unlock()
	if !running {
		return nil, admin.Conflict("start it with: ingestd run", "no daemon runs")
	}
	if l := crew.line(name); l != nil {
		return l, nil
	}
	if crew.cfg.Sink(name) != nil {
		return nil, nil
	}
	return nil, admin.Invalid("the config has no pipeline or sink %q", name)
}

// steeredLine is the pipeline of that name, in a daemon that runs.
func (d *Daemon) steeredLine(name string) (*line, error) {
	l, err := d.steered(name)
	if l == nil && err == nil {
		return nil, admin.Invalid("%s is a sink, not a pipeline", name)
	}
	return l, err
}

// steerSink pauses or resumes a sink for all engines, and for those that a
// reload makes.
func (d *Daemon) steerSink(p ingest.Pause) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.paused[p.Name] = p
	for _, l := range d.crew.lines {
		steer(l.engine.Load(), &p)
	}
}

func steer(e *pipeline.Engine, p *ingest.Pause) {
	switch now := time.Now(); {
	case p.Lasts(now):
		e.PauseSink(p.Name, pausedByPerson, p.Since, p.Until)
	case !p.Ended.IsZero():
		e.ResumeSink(p.Name, p.Ended)
	default:
		e.ResumeSink(p.Name, p.Until)
	}
}

// pauseSinks makes a fresh engine heed the pauses of sinks.
func (d *Daemon) pauseSinks(e *pipeline.Engine) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.paused {
		steer(e, &p)
	}
}

// loadPauses reads what an earlier process was told.
func (d *Daemon) loadPauses(ctx context.Context) error {
	list, err := d.ledger.Pauses(ctx)
	if err != nil {
		return err
	}
	d.paused = map[string]ingest.Pause{}
	for _, p := range list {
		if p.Sink {
			d.paused[p.Name] = p
		}
	}
	return nil
}

// pauseLines pauses the pipelines that were paused when the last daemon ended.
func (d *Daemon) pauseLines(ctx context.Context) error {
	list, err := d.ledger.Pauses(ctx)
	if err != nil {
		return err
	}
	for _, p := range list {
		l := d.current().line(p.Name)
		if p.Sink || l == nil || !p.Lasts(time.Now()) {
			continue
		}
		l.pauseUntil(pauseReason(&p), p.Until)
		l.mu.Lock()
		l.at = p.Since
		l.mu.Unlock()
		d.log.Warn("a pipeline is paused since before the start; ingestd resume ends that", "pipeline", p.Name, "since", p.Since, "until", p.Until)
	}
	return nil
}
