package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"

	"ingestd/config"
	"ingestd/formats"
	"ingestd/ingest"
	"ingestd/ingest/alert"
	"ingestd/ingest/expr"
	"ingestd/ingest/shape"
	"ingestd/ingest/source/webhook"
	"ingestd/sinks"
)

// Load reads a config and has every room check its part, so that all that is
// wrong with it comes back at once, each with its place in the file. Where
// anything is wrong the config is nil.
func Load(path string) (*config.Config, config.Problems) {
	cfg, problems := config.Load(path)
	if cfg == nil {
		return nil, problems
	}
	for _, p := range cfg.Unsupported() {
		problems = problems.Append(p)
	}
	c := &checks{cfg: cfg, weather: newWeather(slog.New(slog.DiscardHandler))}
	for i := range cfg.Sinks {
		c.sink(&cfg.Sinks[i])
	}
	for i := range cfg.Pipelines {
		c.pipeline(&cfg.Pipelines[i])
	}
	if h := cfg.Heartbeat; h != nil {
		c.add(config.Join("heartbeat", "url"), alert.CheckURL(h.URL))
	}
	for _, u := range dropUsers(cfg) {
		c.add(config.Join("sftp_server", "users", u.Name), u.Check())
	}
	if t := &cfg.Webhooks.TLS; t.CertFile != "" && cfg.Hooked() {
		_, err := webhook.LoadTLS(t.CertFile, t.KeyFile, t.ClientCAFile)
		c.add(config.Join("webhooks", "tls"), err)
	}
	for _, p := range c.found {
		problems = problems.Append(p)
	}
	if problems.Err() != nil {
		return nil, problems
	}
	return cfg, problems
}

type checks struct {
	cfg     *config.Config
	weather weather
	found   []error
}

func (c *checks) add(path string, err error) {
	if err == nil {
		return
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			c.add(path, e)
		}
		return
	}
	var se *shape.Error
	if errors.As(err, &se) {
		c.found = append(c.found, c.cfg.Problem(path+"."+indexed(se.Path), se.Message, ""))
		return
	}
	// Rooms begin with the key where they know it: "when_done: to: …".
	message := err.Error()
	for {
		key, rest, ok := strings.Cut(message, ": ")
		if !ok || !c.cfg.Given(config.Join(path, key)) {
			break
		}
		path, message = config.Join(path, key), rest
	}
	var ee *expr.Error
	if errors.As(err, &ee) {
		hint := ""
		if len(ee.Names) > 0 {
			hint = "valid here: " + strings.Join(ee.Names, ", ")
		}
		c.found = append(c.found, c.cfg.ProblemIn(path, ee.Line, ee.Column, ee.Message, hint))
		return
	}
	c.found = append(c.found, c.cfg.Problem(path, message, ""))
}

// indexed writes record.key.0, as shapes count, as record.key[0].
func indexed(path string) string {
	return regexp.MustCompile(`^(record\.key)\.(\d+)`).ReplaceAllString(path, "$1[$2]")
}

func (c *checks) sink(s *config.Sink) {
	path := config.Join("sinks", s.Name)
	o, err := newOutlet(s, c.weather, deaf{}, os.Stdout, "")
	if err != nil {
		c.add(path, err)
		return
	}
	c.add(path, o.close())
	if !s.ForAlerts() {
		_, err = sinks.Body(sinks.BodySpec{Kind: s.Body, Template: s.Template})
		c.add(path, err)
	}
	if s.ForAlerts() || c.tells(s.Name) {
		_, err = alert.NewBody(s.Body, s.Template)
		c.add(path, err)
	}
	if c.tells(s.Name) {
		c.add(path, oneWriter(c.cfg, s))
		for _, f := range s.HTTP.URLFields() {
			if !alert.IsField(f) {
				c.add(config.Join(path, "url"), fmt.Errorf("`alerts` use this sink, and {%s} is no field of an alert", f))
			}
		}
	}
}

// tells reports whether alerts go through the sink of that name.
func (c *checks) tells(name string) bool {
	return slices.ContainsFunc(c.cfg.Alerts, func(a config.Alert) bool { return a.Sink == name })
}

func (c *checks) pipeline(p *config.Pipeline) {
	path := config.Join("pipelines", p.Name)
	_, err := shape.Compile(shapeOptions(&p.Record))
	c.add(path, err)
	_, err = formatSpec(p)
	c.add(config.Join(path, "format"), err)
	// A source that keeps files needs a spool; whether one can be made is not
	// asked here, so the check is made without.
	src := *p
	for _, away := range []*config.Away{&src.Source.Dir.WhenDone, &src.Source.Drop.WhenDone} {
		if away.Action == "keep" {
			*away = config.Away{Action: "delete"}
		}
	}
	if p.Source.Type == "webhook" {
		_, err = hookOptions(p)
		c.add(config.Join(path, "source"), err)
		return
	}
	_, err = newSource(c.cfg, &src, formats.Known, nil, slog.New(slog.DiscardHandler), nil)
	c.add(config.Join(path, "source"), err)
}

// deaf is an observer that hears nothing.
type deaf struct{ ingest.Observer }
