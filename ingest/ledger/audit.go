package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"strings"

	"ingestd/ingest"
)

// Audit implements ingest.Query. An ended arrival's books are counted again
// from its claims' verdicts, its dead letters and its batches, and compared
// with the totals that were written down when it ended. One that is under way
// balances when its settled claims do.
func (l *Ledger) Audit(ctx context.Context, pipeline string, arrival int64) iter.Seq2[ingest.AuditRow, error] {
	return func(yield func(ingest.AuditRow, error) bool) {
		found := false
		for a, err := range l.Arrivals(ctx, ingest.ArrivalFilter{Pipeline: pipeline}) {
			if err != nil {
				yield(ingest.AuditRow{}, err)
				return
			}
			if arrival != 0 && a.ID != arrival {
				continue
			}
			found = true
			row, err := l.audit(ctx, a.ID)
			if errors.Is(err, sql.ErrNoRows) {
				continue // pruned meanwhile
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
		if arrival != 0 && !found {
			yield(ingest.AuditRow{}, fmt.Errorf("arrival %d is %w", arrival, ingest.ErrNotFound))
		}
	}
}

// audit proves one arrival, from one state of the database.
func (l *Ledger) audit(ctx context.Context, id int64) (row ingest.AuditRow, err error) {
	tx, err := l.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return row, fmt.Errorf("audit: %w", err)
	}
	defer tx.Rollback()
	a, err := scanArrival(tx.QueryRowContext(ctx, arrivalQuery+" WHERE a.id = ?", id))
	if err != nil {
		return row, fmt.Errorf("audit: %w", err)
	}
	row = ingest.AuditRow{Pipeline: a.Pipeline, Arrival: a.ID, State: a.State, Counts: l.live(a).Counts}
	var pruning bool
	if err := tx.QueryRowContext(ctx, "SELECT pruning FROM arrivals WHERE id = ?", id).Scan(&pruning); err != nil {
		return row, fmt.Errorf("audit: %w", err)
	}
	p := &proof{}
	switch {
	case pruning:
		p.balanced(a.Counts)
	case a.State.Ended():
		err = errors.Join(p.claims(ctx, tx, id), p.batches(ctx, tx, id), p.ended(ctx, tx, &a), p.events(ctx, tx, &a))
	default:
		if err = p.claims(ctx, tx, id); err == nil {
			n := p.claimed
			n.Delivered += p.followers
			p.balanced(n)
		}
	}
	if err != nil {
		return row, fmt.Errorf("audit arrival %d: %w", id, err)
	}
	row.Balanced, row.Why = len(p.wrong) == 0, strings.Join(p.wrong, "; ")
	return row, nil
}

// A proof collects what speaks against an arrival's books.
type proof struct {
	wrong     []string
	claimed   ingest.Counts // of settled claims
	followers int64         // of settled claims, that wait
}

func (p *proof) say(format string, args ...any) {
	p.wrong = append(p.wrong, fmt.Sprintf(format, args...))
}

// events checks that the events of a bundle hold all of its records.
func (p *proof) events(ctx context.Context, tx *sql.Tx, a *ingest.Arrival) error {
	var packed []byte
	err := tx.QueryRowContext(ctx, "SELECT packed FROM bundles WHERE arrival = ?", a.ID).Scan(&packed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	spans, err := unpackSpans(packed)
	if err != nil {
		p.say("where its events stand cannot be read: %v", err)
		return nil
	}
	var last int64
	if len(spans) > 0 {
		last = spans[len(spans)-1].Last
	}
	if last != a.Counts.Records {
		p.say("its events hold %d records, it holds %d", last, a.Counts.Records)
	}
	return nil
}

func (p *proof) balanced(n ingest.Counts) {
	if !n.Balanced() {
		p.say("%d records were read, %d have an outcome", n.Records, n.Delivered+n.Duplicate+n.Filtered+n.Dead)
	}
}

// claims checks that the claims follow on one another without a gap, and each
// judges all of its records.
func (p *proof) claims(ctx context.Context, tx *sql.Tx, id int64) error {
	rows, err := tx.QueryContext(ctx, `SELECT id, first, last, state, replay, verdicts, records, delivered, duplicate, filtered, dead, had, followers
		FROM claims WHERE arrival = ? ORDER BY first, id`, id)
	if err != nil {
		return err
	}
	defer rows.Close()
	next := int64(1)
	for rows.Next() {
		var claim, first, last, waits int64
		var state string
		var replay bool
		var verdicts ingest.Verdicts
		var n ingest.Counts
		if err := rows.Scan(&claim, &first, &last, &state, &replay, &verdicts, &n.Records, &n.Delivered, &n.Duplicate, &n.Filtered, &n.Dead, &n.Had, &waits); err != nil {
			return err
		}
		if state == "settled" {
			p.followers += waits
			p.claimed.Add(n)
		}
		if replay {
			continue
		}
		if first != next {
			p.say("records %d to %d are in no claim or in two", min(first, next), max(first, next)-1)
		}
		next = last + 1
		var judged int64
		verdicts.All(func(_, run int64, _ ingest.Verdict) bool { judged += run; return true })
		if judged != last-first+1 || judged != n.Records {
			p.say("claim %d judges %d of its %d records", claim, judged, last-first+1)
		}
	}
	return rows.Err()
}

// batches checks that the requests of each sink decided about every new record
// of a claim once, and that those that were answered record by record have no
// more dead letters than they say. Letters of replays that went well are pruned
// in time, so there may be fewer.
func (p *proof) batches(ctx context.Context, tx *sql.Tx, id int64) error {
	type share struct {
		claim int64
		sink  string
	}
	decided, dead := map[share]int64{}, map[int64]int64{}
	rows, err := tx.QueryContext(ctx, `SELECT b.id, b.claim, b.sink, b.state, b.records, b.outcomes FROM batches b JOIN claims c ON c.id = b.claim WHERE b.arrival = ? AND c.state = 'settled' AND c.replay = 0`, id)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var batch, records int64
		var of share
		var state ingest.BatchState
		var outcomes ingest.Verdicts
		if err := rows.Scan(&batch, &of.claim, &of.sink, &state, &records, (*[]byte)(&outcomes)); err != nil {
			return err
		}
		if outcomes != nil {
			dead[batch] = outcomes.Count(ingest.Dead)
			records = outcomes.Count(ingest.New) + outcomes.Count(ingest.Duplicate) + dead[batch]
		} else if state == ingest.BatchSplit {
			records = 0
		}
		decided[of] += records
	}
	if err := rows.Err(); err != nil || len(decided) == 0 {
		return err
	}
	claims, err := tx.QueryContext(ctx, "SELECT id, verdicts FROM claims WHERE arrival = ? AND replay = 0", id)
	if err != nil {
		return err
	}
	defer claims.Close()
	fresh := map[int64]int64{}
	for claims.Next() {
		var claim int64
		var verdicts ingest.Verdicts
		if err := claims.Scan(&claim, &verdicts); err != nil {
			return err
		}
		fresh[claim] = verdicts.Count(ingest.New)
	}
	if err := claims.Err(); err != nil {
		return err
	}
	for of, n := range decided {
		if want := fresh[of.claim]; n != want {
			p.say("the batches of claim %d to %s decided about %d of its %d new records", of.claim, of.sink, n, want)
		}
	}
	if len(dead) == 0 {
		return nil
	}
	letters, err := tx.QueryContext(ctx, "SELECT batch, count(*) FROM dead WHERE arrival = ? AND batch > 0 GROUP BY batch", id)
	if err != nil {
		return err
	}
	defer letters.Close()
	for letters.Next() {
		var batch, n int64
		if err := letters.Scan(&batch, &n); err != nil {
			return err
		}
		if want, ok := dead[batch]; ok && n > want {
			p.say("batch %d has %d dead letters for %d dead records", batch, n, want)
		}
	}
	return letters.Err()
}

// ended compares an ended arrival's totals with its claims, dead letters and
// batches. A replay of dead letters may be under way: its books come later.
func (p *proof) ended(ctx context.Context, tx *sql.Tx, a *ingest.Arrival) error {
	if p.followers > 0 {
		p.say("%d records still wait for others", p.followers)
	}
	if p.claimed != a.Counts {
		p.say("its claims say %+v, its totals %+v", p.claimed, a.Counts)
	}
	p.balanced(a.Counts)
	for _, check := range []struct {
		query string
		want  int64
		what  string
	}{
		{"SELECT count(*) FROM claims WHERE arrival = ? AND state = 'open' AND replay = 0", 0, "claims are open"},
		{"SELECT count(*) FROM waiting WHERE arrival = ?", 0, "records are stored as waiting"},
		{`SELECT count(*) FROM batches b JOIN claims c ON c.id = b.claim
			WHERE b.arrival = ? AND b.state IN ('open', 'due') AND c.replay = 0`, 0, "batches are unsettled"},
		{"SELECT count(DISTINCT record) FROM dead WHERE arrival = ? AND state <> 'replayed'", a.Counts.Dead, "records have a dead letter"},
	} {
		var n int64
		if err := tx.QueryRowContext(ctx, check.query, a.ID).Scan(&n); err != nil {
			return err
		}
		if n != check.want {
			p.say("%d %s, not %d", n, check.what, check.want)
		}
	}
	return nil
}
