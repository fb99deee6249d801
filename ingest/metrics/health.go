package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"ingestd/ingest"
)

// WatchAlerts counts what needs a person, as open says at the moment of a
// scrape. It is called once, before Handler.
func (m *Metrics) WatchAlerts(open func() []ingest.OpenAlert) {
	m.reg.MustRegister(&openAlerts{open, prometheus.NewDesc(namespace+"_alerts_open",
		"Alerts that are open: what needs a person now. A severity without any is shown as 0.", []string{"severity"}, nil)})
}

type openAlerts struct {
	open func() []ingest.OpenAlert
	desc *prometheus.Desc
}

func (a *openAlerts) Describe(ch chan<- *prometheus.Desc) { ch <- a.desc }

func (a *openAlerts) Collect(ch chan<- prometheus.Metric) {
	n := map[string]int{"info": 0, "warning": 0, "critical": 0}
	for _, o := range a.open() {
		n[o.Severity]++
	}
	for severity, count := range n {
		ch <- prometheus.MustNewConstMetric(a.desc, prometheus.GaugeValue, float64(count), severity)
	}
}

// WatchSinks shows which sinks take records, as up says by name at the moment
// of a scrape. It is called once, before Handler.
func (m *Metrics) WatchSinks(up func() map[string]bool) {
	m.reg.MustRegister(&sinksUp{up, prometheus.NewDesc(namespace+"_sink_up",
		"Whether the sink takes records: 0 while it is tried again or stopped.", []string{"sink"}, nil)})
}

type sinksUp struct {
	up   func() map[string]bool
	desc *prometheus.Desc
}

func (s *sinksUp) Describe(ch chan<- *prometheus.Desc) { ch <- s.desc }

func (s *sinksUp) Collect(ch chan<- prometheus.Metric) {
	for name, up := range s.up() {
		v := 0.0
		if up {
			v = 1
		}
		ch <- prometheus.MustNewConstMetric(s.desc, prometheus.GaugeValue, v, name)
	}
}
