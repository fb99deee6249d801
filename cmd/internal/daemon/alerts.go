package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"ingestd/config"
	"ingestd/ingest"
	"ingestd/ingest/admin"
	"ingestd/ingest/alert"
)

// newTellers makes what tells people; newCrew has made the ways.
func (d *Daemon) newTellers() {
	host, err := os.Hostname()
	if err != nil {
		d.log.Warn("alerts do not name this machine", "error", err)
	}
	d.teller = alert.New(alert.Options{Book: d.ledger, Look: d.facts, Host: host, Log: d.log, Haste: d.o.Haste})
	d.heart = alert.NewHeart(alert.HeartOptions{Well: d.well, UserAgent: "ingestd/" + d.o.Version, Log: d.log})
	d.configureTellers(d.crew)
}

// configureTellers has people told as c says.
func (d *Daemon) configureTellers(c *crew) {
	d.teller.Configure(c.routes, adminURL(c.cfg.Admin.Listen))
	if h := c.cfg.Heartbeat; h != nil {
		d.heart.Configure(h.URL, h.Every)
	} else {
		d.heart.Configure(ingest.Secret{}, 0)
	}
}

// adminURL is where a person with a browser looks, on this machine or through a
// tunnel; "" where there is no such place.
func adminURL(listen string) string {
	if strings.HasPrefix(listen, "unix:") {
		return ""
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return ""
	}
	if host == "" || host == "0.0.0.0" || host == "::" {
		if host, err = os.Hostname(); err != nil {
			return ""
		}
	}
	return "http://" + net.JoinHostPort(host, port) + "/v1/status"
}

// newRoutes makes the sinks that tell. They are not those that pipelines use:
// no gate, rate or count of theirs is shared, so that neither waits for the
// other.
func (c *crew) newRoutes() error {
	made, air := map[string]*outlet{}, newWeather(c.d.log)
	for i := range c.cfg.Alerts {
		a := &c.cfg.Alerts[i]
		s := c.cfg.Sink(a.Sink)
		if s == nil {
			return fmt.Errorf("alerts: no sink is named %s", a.Sink)
		}
		body, err := alert.NewBody(s.Body, s.Template)
		if err != nil {
			return fmt.Errorf("sink %s, of alerts: %w", s.Name, err)
		}
		o := made[s.Name]
		if o == nil {
			if err := oneWriter(c.cfg, s); err != nil {
				return fmt.Errorf("sink %s, of alerts: %w", s.Name, err)
			}
			if o, err = newOutlet(s, air, unheard{}, c.d.o.Stdout, c.d.o.Version); err != nil {
				return fmt.Errorf("sink %s, of alerts: %w", s.Name, err)
			}
			made[s.Name] = o
			c.tellers = append(c.tellers, o)
		}
		c.routes = append(c.routes, alert.Route{
			To: s.Name, Sink: o.Sink, Body: body, Pipelines: a.Pipelines, Kinds: a.Kinds, Remind: a.Remind, Timeout: s.HTTP.Timeout,
		})
	}
	return nil
}

// oneWriter refuses a file that a pipeline writes too.
func oneWriter(cfg *config.Config, s *config.Sink) error {
	if s.Type == "file" && slices.ContainsFunc(cfg.Pipelines, func(p config.Pipeline) bool { return slices.Contains(p.Sinks, s.Name) }) {
		return errors.New("a file has one writer, and both `alerts` and a pipeline name this sink; give alerts a file of their own")
	}
	return nil
}

// unheard is the observer of alerts: they are no deliveries.
type unheard struct{ ingest.Observer }

func (unheard) Sent(string, string, string, int, int, time.Duration) {}

// tell tells people until ctx ends.
func (d *Daemon) tell(ctx context.Context) {
	for _, l := range d.current().lines {
		if err := d.news.recall(ctx, d.ledger, l.cfg.Name, l.expect); err != nil && ctx.Err() == nil {
			d.log.Warn("alerts know nothing of earlier arrivals", "pipeline", l.cfg.Name, "error", err)
		}
	}
	d.teller.Run(ctx)
}

// well says why the process cannot do its work, or nil: the ledger commits,
// there is room on the disk, and somebody can be told of the rest.
func (d *Daemon) well(ctx context.Context) error {
	if err := d.alive(ctx); err != nil {
		return fmt.Errorf("the ledger does not commit: %w", err)
	}
	if low := d.lowDisk(); low != "" {
		return errors.New("the disk is nearly full: " + low)
	}
	return d.teller.Mute()
}

// openAlerts is what needs a person now; without a daemon, what needed one when
// the last one ended.
func (d *Daemon) openAlerts(ctx context.Context, running bool) ([]admin.OpenAlert, error) {
	var list []ingest.OpenAlert
	if running {
		list = d.teller.Open()
	} else {
		all, err := d.ledger.OpenAlerts(ctx)
		if err != nil {
			return nil, err
		}
		for _, a := range all {
			if !slices.ContainsFunc(list, func(b ingest.OpenAlert) bool { return a.Key == b.Key }) {
				list = append(list, a)
			}
		}
		alert.SortOpen(list)
	}
	out := make([]admin.OpenAlert, len(list))
	for i := range list {
		out[i] = admin.ViewAlert(&list[i])
	}
	return out, nil
}

// TestAlerts implements admin.Alerts.
func (d *Daemon) TestAlerts(ctx context.Context) ([]admin.AlertTest, error) {
	if len(d.current().routes) == 0 {
		return nil, admin.Conflict("add one, as in: alerts: [{sink: ops_chat}]", "the config has no alerts")
	}
	var out []admin.AlertTest
	for _, r := range d.teller.Test(ctx) {
		out = append(out, admin.AlertTest{Sink: r.Sink, Status: r.Status, Answer: r.Answer, Error: r.Error})
	}
	return out, nil
}
