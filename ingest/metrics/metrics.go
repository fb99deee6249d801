// Package metrics counts what an ingest.Observer sees and shows it to
// Prometheus.
//
// It promises:
//
//   - Every name starts with ingestd_, counters end in _total, units are base
//     units (seconds, bytes).
//   - Labels hold configured names and words of this package only. Whatever a
//     partner or a target sends, the number of series stays what the config
//     makes it: an unknown name is counted under "(unknown)", an HTTP status as
//     its class.
//   - Observing is cheap (tens of nanoseconds, no allocation where it happens
//     often) and never blocks on a scrape.
//   - Nothing is global: each Metrics has its own registry.
package metrics

import (
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ingestd/ingest"
)

// unknown stands for a name that is not configured, such as a pipeline's that
// was removed while work of it was under way. No configured name looks so.
const unknown = "(unknown)"

// Metrics is an ingest.Observer.
type Metrics struct {
	reg   *prometheus.Registry
	names atomic.Pointer[names] // replaced whole by Configure

	records    *prometheus.CounterVec
	found      *prometheus.CounterVec
	foundBytes *prometheus.CounterVec
	lastFound  *prometheus.GaugeVec
	ended      *prometheus.CounterVec
	endedTook  *prometheus.HistogramVec
	requests   *prometheus.CounterVec
	requestDur *prometheus.HistogramVec
	sentBytes  *prometheus.CounterVec
	sourceUp   *prometheus.GaugeVec
	sourceErrs *prometheus.CounterVec
	received   *prometheus.CounterVec

	reloaded, reloadedAt prometheus.Gauge
}

var _ ingest.Observer = (*Metrics)(nil)

// names is what is configured now.
type names struct {
	pipelines map[string]*pipeline
	sinks     map[string]bool
}

// A pipeline holds the series that are counted often, resolved once.
type pipeline struct {
	delivered, duplicate, filtered, dead prometheus.Counter
	found, foundBytes                    prometheus.Counter
	lastFound                            prometheus.Gauge
}

// New makes the metrics of these pipelines and sinks. Series of a pipeline
// exist from here on, at zero, so that rates and alerts see the first event.
func New(pipelines, sinks []string) *Metrics {
	m := &Metrics{reg: prometheus.NewRegistry()}
	m.records = m.counter("records_total", "Records that ended, by outcome.", "pipeline", "outcome")
	m.found = m.counter("arrivals_found_total", "Arrivals that a source handed over.", "pipeline")
	m.foundBytes = m.counter("arrival_bytes_total", "Bytes of arrivals that a source handed over.", "pipeline")
	m.lastFound = m.gauge("last_arrival_timestamp_seconds", "When the last arrival was handed over, 0 = none since the start.", "pipeline")
	m.ended = m.counter("arrivals_total", "Arrivals that ended, by final state.", "pipeline", "state")
	m.endedTook = m.histogram("arrival_duration_seconds", "From finding an arrival to its end.",
		[]float64{.1, .5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600}, "pipeline")
	m.requests = m.counter("requests_total", "Tries of requests to sinks, by what came of them and the answer's status class.", "pipeline", "sink", "class", "status")
	m.requestDur = m.histogram("request_duration_seconds", "Duration of tries of requests to sinks.",
		[]float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}, "pipeline", "sink")
	m.sentBytes = m.counter("request_bytes_total", "Body bytes of tries of requests to sinks, before compression.", "pipeline", "sink")
	m.sourceUp = m.gauge("source_up", "Whether the source can do its work.", "pipeline")
	m.sourceErrs = m.counter("source_errors_total", "Times that a source could not do its work.", "pipeline")
	m.reloaded = prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "config_last_reload_successful", Help: "Whether the config that was read last was taken over.",
	})
	m.reloadedAt = prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "config_last_reload_success_timestamp_seconds", Help: "When a config was taken over last.",
	})
	m.Reloaded(true)

	m.received = m.counter("webhook_requests_total", "Requests to webhooks, by what came of them and the answer's status.", "pipeline", "what", "status")

	m.reg.MustRegister(
		m.reloaded, m.reloadedAt,
		buildInfo(),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m.Configure(pipelines, sinks)
	return m
}

// Configure takes over the names of a reloaded config. What was counted under
// names that are gone stays, and so do rates over the reload.
func (m *Metrics) Configure(pipelines, sinks []string) {
	n := &names{
		pipelines: make(map[string]*pipeline, len(pipelines)),
		sinks:     make(map[string]bool, len(sinks)),
	}
	for _, s := range sinks {
		n.sinks[s] = true
	}
	old := m.names.Load()
	for _, name := range pipelines {
		p := m.resolve(name)
		n.pipelines[name] = p
		for _, state := range []ingest.State{ingest.Done, ingest.DuplicateState, ingest.Failed} {
			m.ended.WithLabelValues(name, string(state))
		}
		m.sourceErrs.WithLabelValues(name)
		if old == nil || old.pipelines[name] == nil {
			m.sourceUp.WithLabelValues(name).Set(1) // until an error says otherwise
		}
	}
	if old != nil {
		for name := range old.pipelines {
			if n.pipelines[name] == nil {
				m.sourceUp.DeleteLabelValues(name) // there is no such source any more
			}
		}
	}
	m.names.Store(n)
}

func (m *Metrics) resolve(name string) *pipeline {
	return &pipeline{
		delivered:  m.records.WithLabelValues(name, "delivered"),
		duplicate:  m.records.WithLabelValues(name, "duplicate"),
		filtered:   m.records.WithLabelValues(name, "filtered"),
		dead:       m.records.WithLabelValues(name, "dead"),
		found:      m.found.WithLabelValues(name),
		foundBytes: m.foundBytes.WithLabelValues(name),
		lastFound:  m.lastFound.WithLabelValues(name),
	}
}

func (m *Metrics) pipeline(name string) *pipeline {
	n := m.names.Load()
	if p := n.pipelines[name]; p != nil {
		return p
	}
	return m.resolve(unknown)
}

// label is name where it is a configured pipeline's, else "(unknown)".
func (m *Metrics) label(pipeline string) string {
	if m.names.Load().pipelines[pipeline] == nil {
		return unknown
	}
	return pipeline
}

// ArrivalFound counts an arrival and its bytes.
func (m *Metrics) ArrivalFound(pipeline string, size int64) {
	p := m.pipeline(pipeline)
	p.found.Inc()
	p.foundBytes.Add(float64(max(size, 0)))
	p.lastFound.SetToCurrentTime()
}

// ArrivalEnded counts an arrival by its final state.
func (m *Metrics) ArrivalEnded(a *ingest.Arrival) {
	if !a.State.Ended() {
		return
	}
	name := m.label(a.Pipeline)
	m.ended.WithLabelValues(name, string(a.State)).Inc()
	if took := a.FinishedAt.Sub(a.FoundAt); !a.FoundAt.IsZero() && took >= 0 {
		m.endedTook.WithLabelValues(name).Observe(took.Seconds())
	}
}

// Received counts a request to a pipeline's webhook. what is one of a few words.
func (m *Metrics) Received(pipeline string, status int, what string) {
	m.received.WithLabelValues(m.label(pipeline), what, strconv.Itoa(status)).Inc()
}

// Settled counts records by their outcome.
func (m *Metrics) Settled(pipeline, outcome string, records int64) {
	if records <= 0 {
		return
	}
	p := m.pipeline(pipeline)
	switch outcome {
	case "delivered":
		p.delivered.Add(float64(records))
	case "duplicate":
		p.duplicate.Add(float64(records))
	case "filtered":
		p.filtered.Add(float64(records))
	case "dead":
		p.dead.Add(float64(records))
	}
}

// Sent counts one try of one request.
func (m *Metrics) Sent(pipeline, sink, class string, status, bytes int, took time.Duration) {
	name := m.label(pipeline)
	if !m.names.Load().sinks[sink] {
		sink = unknown
	}
	switch class {
	case "delivered", "rejected", "mixed", "halted", "retry":
	default:
		class = "other"
	}
	m.requests.WithLabelValues(name, sink, class, statusClass(status)).Inc()
	m.requestDur.WithLabelValues(name, sink).Observe(took.Seconds())
	m.sentBytes.WithLabelValues(name, sink).Add(float64(max(bytes, 0)))
}

func statusClass(status int) string {
	switch status / 100 {
	case 1:
		return "1xx"
	case 2:
		return "2xx"
	case 3:
		return "3xx"
	case 4:
		return "4xx"
	case 5:
		return "5xx"
	}
	if status == 0 {
		return "none"
	}
	return "other"
}

// SourceError notes whether a source can do its work.
func (m *Metrics) SourceError(pipeline string, err error) {
	name := m.label(pipeline)
	if err == nil {
		m.sourceUp.WithLabelValues(name).Set(1)
		return
	}
	m.sourceUp.WithLabelValues(name).Set(0)
	m.sourceErrs.WithLabelValues(name).Inc()
}

// Reloaded notes whether the config that was just read was taken over.
func (m *Metrics) Reloaded(ok bool) {
	if !ok {
		m.reloaded.Set(0)
		return
	}
	m.reloaded.Set(1)
	m.reloadedAt.SetToCurrentTime()
}

// Handler answers scrapes. Access is the caller's business.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.reg, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4,
		Timeout:             scrapeTimeout,
	})
}

// scrapeTimeout is Prometheus' own default.
const scrapeTimeout = 10 * time.Second

const namespace = "ingestd"

func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	m.reg.MustRegister(c)
	return c
}

func (m *Metrics) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
	m.reg.MustRegister(g)
	return g
}

func (m *Metrics) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
	m.reg.MustRegister(h)
	return h
}

// buildInfo is the constant 1 with the binary's version as labels.
func buildInfo() prometheus.Collector {
	version, revision := "(devel)", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" {
			version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "Which build this is; always 1.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision, "goversion": runtime.Version()},
	})
	g.Set(1)
	return g
}
