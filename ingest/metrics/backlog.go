package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ingestd/ingest"
)

// backlogTimeout leaves most of a scrape's time to the rest.
const backlogTimeout = 3 * time.Second

// WatchBacklog shows what waits in each pipeline, as query (an ingest.Query's
// Backlog) says at the moment of a scrape. It is called once, before Handler.
func (m *Metrics) WatchBacklog(query func(context.Context) ([]ingest.Backlog, error)) {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(namespace+"_"+name, help, []string{"pipeline"}, nil)
	}
	m.reg.MustRegister(&backlog{
		m: m, query: query,
		waiting: desc("arrivals_waiting", "Arrivals taken up and not ended, held ones apart."),
		held:    desc("arrivals_held", "Arrivals that wait for a person's release or reject."),
		dead:    desc("dead_letters", "Dead letters in the list."),
	})
}

// backlog is a prometheus.Collector.
type backlog struct {
	m                   *Metrics
	query               func(context.Context) ([]ingest.Backlog, error)
	waiting, held, dead *prometheus.Desc
}

func (b *backlog) Describe(ch chan<- *prometheus.Desc) {
	ch <- b.waiting
	ch <- b.held
	ch <- b.dead
}

func (b *backlog) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), backlogTimeout)
	defer cancel()
	rows, err := b.query(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(b.waiting, err) // the other metrics are shown all the same
		return
	}
	// Pipelines of which the ledger knows nothing yet have nothing waiting.
	sums := map[string]*ingest.Backlog{}
	for name := range b.m.names.Load().pipelines {
		sums[name] = &ingest.Backlog{}
	}
	for _, r := range rows {
		name := b.m.label(r.Pipeline)
		sum := sums[name]
		if sum == nil {
			sum = &ingest.Backlog{}
			sums[name] = sum
		}
		sum.Waiting += r.Waiting
		sum.Held += r.Held
		sum.Dead += r.Dead
	}
	for name, sum := range sums {
		for desc, n := range map[*prometheus.Desc]int64{b.waiting: sum.Waiting, b.held: sum.Held, b.dead: sum.Dead} {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n), name)
		}
	}
}
