package daemon

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/alert"
)

// warm is how long after the start sources may take to find what stands there:
// until then nothing new is late.
const warm = 2 * time.Minute

// facts implements alert.Options.Look: what is the case now and needs a person.
func (d *Daemon) facts(ctx context.Context) ([]alert.Fact, error) {
	backlog, err := d.ledger.Backlog(ctx)
	if err != nil {
		return nil, err
	}
	waits := make(map[string]ingest.Backlog, len(backlog))
	for _, b := range backlog {
		waits[b.Pipeline] = b
	}
	d.mu.Lock()
	crew, disk := d.crew, d.disk
	d.mu.Unlock()
	now, told := time.Now(), d.teller.Told()
	out := crew.targetFacts(waits, told)
	if disk != nil {
		for _, t := range disk.disks() {
			out = append(out, alert.DiskFact(t.dir, t.free, t.need, t.low, t.since))
		}
	}
	out = append(out, crew.certificateFacts(now)...)
	for _, l := range crew.lines {
		name, b := l.cfg.Name, waits[l.cfg.Name]
		if b.Held > 0 {
			held, err := l.held(ctx, b.Held, now)
			if err != nil {
				return nil, err
			}
			out = append(out, held...)
		}
		d.news.expects(name, l.expect)
		out = append(out, d.news.facts(name, b.Dead, now)...)
		s := l.engine.Load().Status()
		if s.Source != nil {
			out = append(out, alert.SourceFact(name, s.Source, s.Since))
		} else if since, err := l.stuck(); err != nil {
			out = append(out, alert.StuckFact(name, err, since))
		}
		for _, id := range s.Behind {
			a, err := d.ledger.Find(ctx, id)
			if errors.Is(err, ingest.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if !a.State.Ended() && a.State != ingest.Held && a.Starts > 1 {
				out = append(out, alert.CrashFact(a))
			}
		}
		if l.expect != nil {
			f, ok, err := l.expect.fact(ctx, d.ledger, b.LastArrival, now)
			if err != nil {
				return nil, err
			}
			_, known := told[string(alert.Late)+"/"+name+"/"]
			if ok && (known || now.Sub(d.started) >= warm) {
				out = append(out, f)
			}
		}
	}
	return out, nil
}

// targetFacts is about sinks whose targets do not take records. A sink that an
// earlier process told of counts as before until it was tried again.
func (c *crew) targetFacts(waits map[string]ingest.Backlog, told map[string]ingest.OpenAlert) []alert.Fact {
	type trouble struct {
		why       string
		stopped   bool
		since     time.Time
		pipelines []string
		waiting   int64
	}
	bad := map[string]*trouble{}
	for _, l := range c.lines {
		for _, h := range l.engine.Load().Health() {
			if h.State != sinkRetrying && h.State != sinkStopped {
				continue
			}
			t := bad[h.Sink]
			if t == nil {
				t = &trouble{}
				bad[h.Sink] = t
			}
			if t.since.IsZero() || h.Since.Before(t.since) {
				t.since = h.Since
			}
			if stopped := h.State == sinkStopped; t.why == "" || stopped && !t.stopped {
				t.why, t.stopped = h.Reason, stopped
			}
			t.pipelines = append(t.pipelines, l.cfg.Name)
			t.waiting += waits[l.cfg.Name].Waiting
		}
	}
	var out []alert.Fact
	for _, sink := range slices.Sorted(maps.Keys(bad)) {
		t := bad[sink]
		slices.Sort(t.pipelines)
		out = append(out, alert.TargetFact(sink, t.why, t.stopped, t.pipelines, t.waiting, t.since))
	}
	for i := range c.cfg.Sinks {
		sink := c.cfg.Sinks[i].Name
		was, ok := told[string(alert.Target)+"//"+sink]
		if !ok || bad[sink] != nil || c.d.news.tried(sink) {
			continue
		}
		var pipelines []string
		var waiting int64
		for _, l := range c.lines {
			if slices.Contains(strings.Split(was.Pipeline, ", "), l.cfg.Name) {
				pipelines = append(pipelines, l.cfg.Name)
				waiting += waits[l.cfg.Name].Waiting
			}
		}
		if waiting > 0 {
			out = append(out, alert.Fact{
				Kind: alert.Kind(was.Kind), Severity: alert.Severity(was.Severity), Pipelines: pipelines, Subject: sink,
				Message: was.Message, Action: was.Action, Since: was.Since,
			})
		}
	}
	return out
}

// heldEvery is how often held arrivals are listed anew while their number stays.
const heldEvery = 30 * time.Second

// heldList is what a line found when it listed its held arrivals last.
type heldList struct {
	n     int64
	at    time.Time
	facts []alert.Fact
}

// held is about the line's held arrivals: those whose requests were not what
// they had been apart from the others.
func (l *line) held(ctx context.Context, n int64, now time.Time) ([]alert.Fact, error) {
	l.mu.Lock()
	last := l.heldList
	l.mu.Unlock()
	if last.n == n && now.Sub(last.at) < heldEvery {
		return last.facts, nil
	}
	list, err := l.d.ledger.Unfinished(ctx, l.cfg.Name)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(a ingest.Arrival) bool { return a.State != ingest.Held })
	slices.SortFunc(list, func(a, b ingest.Arrival) int { return cmp.Compare(a.ID, b.ID) })
	var rebuilt []ingest.Arrival
	list = slices.DeleteFunc(list, func(a ingest.Arrival) bool {
		other := strings.Contains(a.Error, ingest.ErrBodyChanged.Error())
		if other {
			rebuilt = append(rebuilt, a)
		}
		return other
	})
	last = heldList{n: n, at: now}
	for _, some := range [][]ingest.Arrival{list, rebuilt} {
		if len(some) > 0 {
			last.facts = append(last.facts, alert.HeldFact(l.cfg.Name, some))
		}
	}
	l.mu.Lock()
	l.heldList = last
	l.mu.Unlock()
	return last.facts, nil
}

// certificatesEvery is how often certificates are looked at.
const certificatesEvery = time.Minute

// certificateFacts is about the certificates of targets that were reached, and
// our own.
func (c *crew) certificateFacts(now time.Time) []alert.Fact {
	if now.Sub(c.certsAt) < certificatesEvery {
		return c.certs
	}
	var out []alert.Fact
	add := func(f alert.Fact, ok bool) {
		if ok {
			out = append(out, f)
		}
	}
	using := func(sink string) (names []string) {
		for _, l := range c.lines {
			if slices.Contains(l.cfg.Sinks, sink) {
				names = append(names, l.cfg.Name)
			}
		}
		return names
	}
	look := func(o *outlet, pipelines []string) {
		if o.certs == nil {
			return
		}
		for _, k := range o.certs() {
			if k.Own {
				add(alert.CertificateFact(k.Name, fmt.Sprintf("our certificate for sink %s, %s,", o.Name, k.Name),
					"have it renewed, put it in its place, then: ingestd reload", pipelines, k.Ends, now))
			} else {
				add(alert.CertificateFact(o.Name+" "+k.Name, fmt.Sprintf("the certificate of %s, the target of sink %s,", k.Name, o.Name),
					"tell whoever runs the target: after that day nothing can be delivered there", pipelines, k.Ends, now))
			}
		}
	}
	for _, o := range c.secured {
		look(o, using(o.Name))
	}
	for _, o := range c.tellers {
		look(o, nil)
	}
	if file := c.cfg.Webhooks.TLS.CertFile; file != "" {
		add(alert.CertificateFact(file, "our certificate for webhooks, "+file+",",
			"have it renewed, put it in its place, then: ingestd reload", nil, endOf(file), now))
	}
	c.certs, c.certsAt = out, now
	return out
}

// endOf is when the first certificate of a PEM file ends; zero where there is
// none to read: whoever uses it says so.
func endOf(file string) time.Time {
	text, err := os.ReadFile(file)
	if err != nil {
		return time.Time{}
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return time.Time{}
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}
	}
	return cert.NotAfter
}
