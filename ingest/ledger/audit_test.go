package ledger_test

import (
	"strings"
	"testing"

	"ingestd/ingest"
)

// TestAuditOfAnswersPerRecord: the audit finds a batch that was answered record
// by record and does not say what its claim and its dead letters say.
func TestAuditOfAnswersPerRecord(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir)
	ids, err := l.Accept(t.Context(), "p", "p", []ingest.Found{{Source: "dir", Name: "f", Origin: "/f", Path: "/f"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Begin(t.Context(), ids[0], []byte("settings")); err != nil {
		t.Fatal(err)
	}
	b := &ingest.Batch{Sink: "s", First: 1, Last: 3, Records: 3}
	var v, outcomes ingest.VerdictList
	v.AddRun(ingest.New, 3)
	outcomes.AddRun(ingest.New, 2)
	outcomes.Add(ingest.Dead)
	for _, start := range []func(done func(error)){
		func(done func(error)) {
			l.Claim(&ingest.Claim{Arrival: ids[0], Scope: "p", First: 1, Last: 3, Verdicts: v.Take(), Batches: []*ingest.Batch{b}, Sinks: []string{"s"}}, done)
		},
		func(done func(error)) {
			l.Settle(&ingest.Settlement{
				Batch: b, State: ingest.BatchMixed, Outcomes: outcomes.Take(),
				Dead: []ingest.Letter{{Pos: ingest.Position{Record: 3}, Stage: ingest.StageDeliver, Sink: "s", Reason: "no"}},
			}, done)
		},
	} {
		failed := make(chan error, 1)
		start(func(err error) { failed <- err })
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.End(t.Context(), ids[0], ingest.Ending{State: ingest.Done}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ statement, why string }{
		{"", ""},
		{"UPDATE batches SET outcomes = x'19'", "1 dead letters for 0 dead records"},                            // three delivered
		{"UPDATE batches SET outcomes = x'110c'", ""},                                                           // as it was
		{"UPDATE batches SET outcomes = x'110d'", "decided about 2 of its 3 new records"},                       // one went on, nowhere
		{"UPDATE batches SET outcomes = x'110c', state = 'delivered'", ""},                                      // outcomes say it all
		{"UPDATE batches SET outcomes = NULL, state = 'split'", "decided about 0 of its 3 new records"},         // halves that are not there
		{"UPDATE batches SET outcomes = NULL, state = 'dead', records = 2", "decided about 2 of its 3 new rec"}, // a record less
	} {
		if c.statement != "" {
			change(t, dir, c.statement)
		}
		l := open(t, dir)
		for row, err := range l.Audit(t.Context(), "", 0) {
			if err != nil {
				t.Fatal(err)
			}
			if row.Balanced != (c.why == "") || !strings.Contains(row.Why, c.why) {
				t.Errorf("%s: %q, want %q", c.statement, row.Why, c.why)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
