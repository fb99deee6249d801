package ledgertest

import (
	"testing"
	"time"

	"ingestd/ingest"

	"github.com/google/go-cmp/cmp"
)

// alerts: what was told is known to the next process, and only that.
func alerts(t *testing.T, d Driver) {
	w := newWorld(t, d)
	at := time.Date(2026, 3, 5, 6, 0, 0, 0, time.Local)
	first := ingest.OpenAlert{
		To: "chat", Key: "held/orders", Kind: "held", Severity: "warning", Pipeline: "orders", Arrival: 7, Name: "b\xfcro.csv",
		Message: "a file is held", Action: "ingestd release 7", Since: at, Opened: at.Add(time.Second), Mark: 7,
	}
	other := ingest.OpenAlert{To: "mail", Key: "held/orders", Kind: "held", Severity: "warning", Since: at, Opened: at}
	w.check(w.SaveAlerts(t.Context(), []ingest.OpenAlert{first, other}, nil))
	first.Told, first.Said, first.Message = at.Add(time.Minute), 1, "a file is still held"
	w.check(w.SaveAlerts(t.Context(), []ingest.OpenAlert{first}, []ingest.OpenAlert{other}))

	since, err := w.WatchedSince(t.Context(), "orders", "06:00", at)
	w.check(err)
	if !since.Equal(at) {
		t.Errorf("watched since %v, want %v", since, at)
	}
	w.crash()
	got, err := w.OpenAlerts(t.Context())
	w.check(err)
	if diff := cmp.Diff([]ingest.OpenAlert{first}, got); diff != "" {
		t.Errorf("open alerts after a crash (-want +got):\n%s", diff)
	}
	for pipeline, want := range map[string]time.Time{"orders": at, "others": at.Add(time.Hour)} {
		since, err := w.WatchedSince(t.Context(), pipeline, "06:00", at.Add(time.Hour))
		w.check(err)
		if !since.Equal(want) {
			t.Errorf("%s is watched since %v, want %v", pipeline, since, want)
		}
	}
}
