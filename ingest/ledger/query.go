package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"ingestd/ingest"
)

// cond collects the conditions of a listing.
type cond struct {
	where []string
	args  []any
}

func (c *cond) add(when bool, where string, args ...any) {
	if when {
		c.where = append(c.where, where)
		c.args = append(c.args, args...)
	}
}

func (c *cond) String() string {
	if len(c.where) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.where, " AND ")
}

// page is how many rows a listing reads before it hands them on: a slow
// reader holds no snapshot of the database open.
const page = 500

// pageBytes bounds the bytes of records that a page of dead letters holds: each
// may be as large as ingest.MaxRawFault.
const pageBytes = 8 << 20

// errPage ends a page before its last row.
var errPage = errors.New("the page is full")

// Arrivals implements ingest.Query.
func (l *Ledger) Arrivals(ctx context.Context, f ingest.ArrivalFilter) iter.Seq2[ingest.Arrival, error] {
	return func(yield func(ingest.Arrival, error) bool) {
		left := f.Limit
		if left <= 0 {
			left = 1 << 62
		}
		before := int64(1) << 62
		for left > 0 {
			var c cond
			c.add(true, "a.id < ?", before)
			c.add(f.Pipeline != "", "a.pipeline = ?", f.Pipeline)
			c.add(f.State != "", "a.state = ?", string(f.State))
			c.add(!f.Since.IsZero(), "a.found_at >= ?", f.Since.UnixMicro())
			c.add(!f.Until.IsZero(), "a.found_at < ?", f.Until.UnixMicro())
			n := min(left, page)
			list, err := l.list(ctx, c.String()+fmt.Sprintf(" ORDER BY a.id DESC LIMIT %d", n), c.args...)
			if err != nil {
				yield(ingest.Arrival{}, err)
				return
			}
			for i := range list {
				before = list[i].ID
				shown := []ingest.Arrival{l.live(list[i])}
				if f.Events {
					if shown, err = l.expand(ctx, shown[0], f.State); err != nil {
						yield(ingest.Arrival{}, err)
						return
					}
				}
				for k := range shown {
					if left--; left < 0 || !yield(shown[k], nil) {
						return
					}
				}
			}
			if len(list) < n {
				return
			}
		}
	}
}

// live fills in the books of an arrival that is under way.
func (l *Ledger) live(a ingest.Arrival) ingest.Arrival {
	if !a.State.Ended() {
		if n, ok := l.Progress(a.ID); ok {
			a.Counts = n
		}
	}
	return a
}

// maxListed bounds the batches and steps of one arrival that are listed.
const maxListed = 5_000

// Arrival implements ingest.Query.
func (l *Ledger) Arrival(ctx context.Context, id int64) (*ingest.ArrivalDetail, error) {
	list, err := l.list(ctx, "WHERE a.id = ?", id)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("arrival %d is %w", id, ingest.ErrNotFound)
	}
	d := &ingest.ArrivalDetail{Arrival: l.live(list[0])}
	// A huge arrival has hundreds of thousands: those in trouble come first.
	err = l.scan(ctx, batchQuery+` WHERE arrival = ?
		ORDER BY state IN ('open', 'due') DESC, state IN ('dead', 'given_up') DESC, number DESC LIMIT ?`, func(r *sql.Rows) error {
		b, _, outcomes, err := scanBatch(r)
		if err != nil {
			return err
		}
		d.Batches = append(d.Batches, ingest.BatchInfo{
			ID: b.ID, Sink: b.Sink, Number: b.Number, First: b.First, Last: b.Last, Records: b.Records, State: b.State,
			IdempotencyKey: ingest.Key(b.Key).String(), Attempts: b.Attempts, Status: b.Status, Answer: b.Answer, DueAt: b.DueAt,
			Delivered: outcomes.Count(ingest.New) + outcomes.Count(ingest.Duplicate), Dead: outcomes.Count(ingest.Dead), Again: outcomes.Count(ingest.Follow),
		})
		return nil
	}, id, maxListed)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(d.Batches, func(a, b ingest.BatchInfo) int { return cmp.Compare(a.Number, b.Number) })
	if d.Receipt, err = l.Receipt(ctx, id); err != nil {
		return nil, err
	}
	if d.Read, err = l.Details(ctx, id); err != nil {
		return nil, err
	}
	note := func(at time.Time, what string) {
		if !at.IsZero() {
			d.Timeline = append(d.Timeline, ingest.TimelineEvent{At: at, What: what})
		}
	}
	note(d.FoundAt, "found")
	note(d.StartedAt, "begun")
	err = l.scan(ctx, "SELECT at, what FROM (SELECT id, at, what FROM steps WHERE arrival = ? ORDER BY id DESC LIMIT ?) ORDER BY id", func(r *sql.Rows) error {
		var at int64
		var what string
		err := r.Scan(&at, &what)
		note(time.UnixMicro(at), what)
		return err
	}, id, maxListed)
	if err != nil {
		return nil, err
	}
	end := string(d.State)
	if d.Error != "" {
		end += ": " + d.Error
	}
	note(d.FinishedAt, end)
	if d.PutAway && d.Away.Action != "" {
		what := d.Away.Action
		if d.Away.To != "" {
			what += " to " + d.Away.To
		}
		d.Timeline = append(d.Timeline, ingest.TimelineEvent{At: d.FinishedAt, What: "put away: " + what})
	}
	slices.SortStableFunc(d.Timeline, func(a, b ingest.TimelineEvent) int { return a.At.Compare(b.At) })
	return d, nil
}

const letterQuery = `SELECT d.id, d.arrival, a.pipeline, a.name, d.record, d.line, d.col, d.place, d.stage, d.sink, d.reason,
	d.status, d.answer, d.raw, d.key, coalesce(b.id, 0), d.uncertain, d.state = 'replaying', d.at FROM dead d JOIN arrivals a ON a.id = d.arrival
	LEFT JOIN batches b ON b.id = d.batch AND b.state = 'given_up'`

func scanLetter(r scanner) (d ingest.Letter, err error) {
	var name, key []byte
	var at int64
	err = r.Scan(&d.ID, &d.Arrival, &d.Pipeline, &name, &d.Pos.Record, &d.Pos.Line, &d.Pos.Column, &d.Pos.Offset, &d.Stage, &d.Sink,
		&d.Reason, &d.Status, &d.Answer, &d.Raw, &key, &d.Batch, &d.Uncertain, &d.Replaying, &at)
	d.Name, d.At = string(name), time.UnixMicro(at)
	copy(d.Key[:], key)
	return d, err
}

// Letters implements ingest.Query: those that are dead now, or were until a replay
// that is under way, oldest first.
func (l *Ledger) Letters(ctx context.Context, f ingest.LetterFilter) iter.Seq2[ingest.Letter, error] {
	return func(yield func(ingest.Letter, error) bool) {
		left := f.Limit
		if left <= 0 {
			left = 1 << 62
		}
		names := namer{l: l}
		from, to, some, err := l.eventsRange(ctx, &f)
		if err != nil {
			yield(ingest.Letter{}, err)
		}
		if err != nil || !some {
			return
		}
		var last ingest.Letter
		query, order := letterQuery, "d.id"
		if f.ByRecord {
			// Each page goes on in the index where the last one ended; left to
			// itself, SQLite sorts all letters of the arrival for every page.
			query = strings.Replace(query, "dead d JOIN", "dead d INDEXED BY dead_arrival CROSS JOIN", 1)
			order = "d.arrival, d.record, d.id"
		}
		for left > 0 {
			var c cond
			c.add(!f.Replaying, "d.state = 'dead'")
			c.add(f.Replaying, `(d.state = 'dead' OR d.state = 'replaying' AND NOT EXISTS (SELECT 1 FROM dead n
				WHERE n.arrival = d.arrival AND n.record = d.record AND n.sink = d.sink AND n.id > d.id AND n.state = 'dead'))`)
			c.add(!f.ByRecord, "d.id > ?", last.ID)
			c.add(f.ByRecord && f.Arrival == 0, "(d.arrival, d.record, d.id) > (?, ?, ?)", last.Arrival, last.Pos.Record, last.ID)
			c.add(f.ByRecord && f.Arrival != 0, "d.record >= ? AND (d.record > ? OR d.id > ?)", last.Pos.Record, last.Pos.Record, last.ID)
			c.add(f.Arrival != 0, "d.arrival = ?", f.Arrival)
			c.add(f.Event != 0, "d.record BETWEEN ? AND ?", from, to)
			c.add(f.Pipeline != "", "a.pipeline = ?", f.Pipeline)
			c.add(f.Reason != "", "instr(lower(d.reason), lower(?)) > 0", f.Reason)
			c.add(f.Sink != "", "d.sink = ?", f.Sink)
			c.add(f.Stage != "", "d.stage = ?", string(f.Stage))
			c.add(!f.Since.IsZero(), "d.at >= ?", f.Since.UnixMicro())
			c.add(!f.Until.IsZero(), "d.at < ?", f.Until.UnixMicro())
			if len(f.IDs) > 0 {
				ids, err := json.Marshal(f.IDs)
				if err != nil {
					yield(ingest.Letter{}, fmt.Errorf("list dead letters: %w", err))
					return
				}
				c.add(true, "d.id IN (SELECT value FROM json_each(?))", string(ids))
			}
			n := min(left, page)
			var got []ingest.Letter
			size := 0
			err := l.scan(ctx, query+c.String()+fmt.Sprintf(" ORDER BY %s LIMIT %d", order, n), func(r *sql.Rows) error {
				d, err := scanLetter(r)
				got = append(got, d)
				if size += len(d.Raw); err == nil && size >= pageBytes {
					err = errPage
				}
				return err
			}, c.args...)
			cut := errors.Is(err, errPage)
			if err != nil && !cut {
				yield(ingest.Letter{}, err)
				return
			}
			for i := range got {
				if err := names.name(ctx, &got[i]); err != nil {
					yield(ingest.Letter{}, err)
					return
				}
				if !yield(got[i], nil) {
					return
				}
			}
			if len(got) < n && !cut {
				return
			}
			last = got[len(got)-1]
			left -= len(got)
		}
	}
}

// Backlog implements ingest.Query.
func (l *Ledger) Backlog(ctx context.Context) ([]ingest.Backlog, error) {
	by := map[string]*ingest.Backlog{}
	var order []string
	get := func(name string) *ingest.Backlog {
		b := by[name]
		if b == nil {
			b = &ingest.Backlog{Pipeline: name}
			by[name] = b
			order = append(order, name)
		}
		return b
	}
	// From one pipeline's name to the next, by the index: this is asked often,
	// of a table with a row for each event of a year.
	err := l.scan(ctx, `WITH RECURSIVE p(name) AS (
			SELECT min(pipeline) FROM arrivals
			UNION ALL SELECT (SELECT min(pipeline) FROM arrivals WHERE pipeline > p.name) FROM p WHERE p.name IS NOT NULL)
		SELECT a.pipeline, a.found_at, a.name, a.state FROM p JOIN arrivals a
			ON a.id = (SELECT id FROM arrivals WHERE pipeline = p.name ORDER BY found_at DESC, id DESC LIMIT 1)`, func(r *sql.Rows) error {
		var pipeline, name, state string
		var last int64
		err := r.Scan(&pipeline, &last, &name, &state)
		b := get(pipeline)
		b.LastArrival, b.LastName, b.LastState = time.UnixMicro(last), name, ingest.State(state)
		return err
	})
	if err != nil {
		return nil, err
	}
	err = l.scan(ctx, `SELECT pipeline, sum(state IN ('waiting', 'running')), sum(state = 'held') FROM arrivals WHERE put_away = 0 GROUP BY pipeline`, func(r *sql.Rows) error {
		var name string
		var waiting, held int64
		err := r.Scan(&name, &waiting, &held)
		get(name).Waiting, get(name).Held = waiting, held
		return err
	})
	if err != nil {
		return nil, err
	}
	err = l.scan(ctx, `SELECT a.pipeline, count(*) FROM dead d JOIN arrivals a ON a.id = d.arrival WHERE d.state = 'dead' GROUP BY a.pipeline`, func(r *sql.Rows) error {
		var name string
		var n int64
		err := r.Scan(&name, &n)
		get(name).Dead = n
		return err
	})
	if err != nil {
		return nil, err
	}
	err = l.scan(ctx, `SELECT pipeline, count(*), coalesce((SELECT error FROM receipts o WHERE o.pipeline = r.pipeline AND o.written < o.version
			AND o.error <> '' ORDER BY o.arrival LIMIT 1), '') FROM receipts r WHERE written < version GROUP BY pipeline`, func(r *sql.Rows) error {
		var name, why string
		var n int64
		err := r.Scan(&name, &n, &why)
		get(name).Receipts, get(name).NoReceipt = n, why
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make([]ingest.Backlog, 0, len(order))
	for _, name := range order {
		b := by[name]
		err := l.readers.QueryRowContext(ctx, `SELECT error FROM arrivals
			WHERE pipeline = ? AND state IN ('held', 'failed') ORDER BY id DESC LIMIT 1`, name).Scan(&b.LastError)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, fmt.Errorf("read the ledger: %w", err)
		}
		out = append(out, *b)
	}
	return out, nil
}
