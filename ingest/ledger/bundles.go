package ledger

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"ingestd/ingest"
)

// ReserveArrivals implements ingest.Events. SQLite gives the numbers above.
func (l *Ledger) ReserveArrivals(ctx context.Context, n int) (first int64, err error) {
	err = l.w.do(ctx, func(t *tx) error {
		res, err := t.exec("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'arrivals'", n)
		if err != nil {
			return err
		}
		if changed, err := res.RowsAffected(); err != nil {
			return err
		} else if changed == 0 { // there was no arrival yet
			if _, err := t.exec("INSERT INTO sqlite_sequence (name, seq) VALUES ('arrivals', ?)", n); err != nil {
				return err
			}
		}
		var last int64
		if err := t.row("SELECT seq FROM sqlite_sequence WHERE name = 'arrivals'", nil, &last); err != nil {
			return err
		}
		first = last - int64(n) + 1
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("reserve arrival numbers: %w", err)
	}
	return first, nil
}

// accepted reports whether what has this reserved number was accepted before.
func accepted(t *tx, f *ingest.Found) (bool, error) {
	if f.ID == 0 {
		return false, nil
	}
	var there bool
	err := t.row("SELECT EXISTS (SELECT 1 FROM arrivals WHERE id = ?)", []any{f.ID}, &there)
	return there, err
}

// StoreSpans implements ingest.Events.
func (l *Ledger) StoreSpans(ctx context.Context, arrival int64, spans []ingest.Span) error {
	packed := packSpans(spans)
	err := l.w.do(ctx, func(t *tx) error {
		_, err := t.exec("INSERT INTO bundles (arrival, events, packed) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", arrival, len(spans), packed)
		return err
	})
	if err != nil {
		return fmt.Errorf("store where the events of arrival %d stand: %w", arrival, err)
	}
	return nil
}

// Spans lists the events of a bundle; nil where they are not known (yet). A
// replay's are those of the arrival that it takes up again.
func (l *Ledger) Spans(ctx context.Context, arrival int64) ([]ingest.Span, error) {
	s, err := l.prepared(ctx, `SELECT packed FROM bundles WHERE arrival = ?`)
	if err != nil {
		return nil, err
	}
	var packed []byte
	err = s.QueryRowContext(ctx, arrival).Scan(&packed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	var spans []ingest.Span
	if err == nil {
		spans, err = unpackSpans(packed)
	}
	if err != nil {
		return nil, fmt.Errorf("read where the events of arrival %d stand: %w", arrival, err)
	}
	return spans, nil
}

// SpanOf implements ingest.Events.
func (l *Ledger) SpanOf(ctx context.Context, r ingest.Ref) (ingest.Span, error) {
	spans, err := l.Spans(ctx, r.Arrival)
	if err != nil {
		return ingest.Span{}, err
	}
	if r.Event < 1 || r.Event > len(spans) {
		return ingest.Span{}, fmt.Errorf("event %s is %w", r, ingest.ErrNotFound)
	}
	return spans[r.Event-1], nil
}

// EventDied implements ingest.Events.
func (l *Ledger) EventDied(ctx context.Context, r ingest.Ref) (bool, error) {
	span, err := l.SpanOf(ctx, r)
	if errors.Is(err, ingest.ErrNotFound) {
		return false, nil // it is under way
	}
	if err != nil {
		return false, err
	}
	s, err := l.prepared(ctx, "SELECT EXISTS (SELECT 1 FROM dead WHERE arrival = ? AND record BETWEEN ? AND ? AND state = 'dead')")
	if err != nil {
		return false, err
	}
	var died bool
	if err := s.QueryRowContext(ctx, r.Arrival, span.First, span.Last).Scan(&died); err != nil {
		return false, fmt.Errorf("look for dead letters of event %s: %w", r, err)
	}
	return died, nil
}

// Reply returns what a target answered to an event; nil where nothing is known,
// not yet or not any more.
func (l *Ledger) Reply(ctx context.Context, r ingest.Ref) (*ingest.Reply, error) {
	s, err := l.prepared(ctx, "SELECT status, type, body FROM answers WHERE arrival = ? AND event = ?")
	if err != nil {
		return nil, err
	}
	var out ingest.Reply
	err = s.QueryRowContext(ctx, r.Arrival, r.Event).Scan(&out.Status, &out.ContentType, &out.Body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the answer to event %s: %w", r, err)
	}
	return &out, nil
}

// StoreReply keeps what a sender that waits is told, unless there is an answer.
func (l *Ledger) StoreReply(ctx context.Context, r ingest.Ref, reply *ingest.Reply) error {
	err := l.w.do(ctx, func(t *tx) error { return l.answerTo(t, r, reply) })
	if err != nil {
		return fmt.Errorf("store the answer to event %s: %w", r, err)
	}
	return nil
}

func (l *Ledger) answerTo(t *tx, r ingest.Ref, reply *ingest.Reply) error {
	_, err := t.exec("INSERT INTO answers (arrival, event, at, status, type, body) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		r.Arrival, r.Event, l.now().UnixMicro(), reply.Status, reply.ContentType, nonNil(reply.Body))
	return err
}

// PruneReplies forgets answers that were given before a time.
func (l *Ledger) PruneReplies(ctx context.Context, before time.Time) (int64, error) {
	n, err := l.inPieces(ctx, deleteRows("DELETE FROM answers WHERE (arrival, event) IN (SELECT arrival, event FROM answers WHERE at < ? LIMIT ?)", before.UnixMicro()))
	if err != nil {
		return n, fmt.Errorf("prune answers: %w", err)
	}
	return n, nil
}

// Once returns what is kept under a name in the ledger; where nothing is, it
// keeps what fresh returns.
func (l *Ledger) Once(ctx context.Context, name string, fresh func() []byte) (value []byte, err error) {
	key := "once." + name
	err = l.w.do(ctx, func(t *tx) error {
		err := t.row("SELECT value FROM meta WHERE key = ?", []any{key}, &value)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		value = fresh()
		_, err = t.exec("INSERT INTO meta (key, value) VALUES (?, ?)", key, value)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("keep %s: %w", name, err)
	}
	return value, nil
}

// Random is so many bytes that nobody can guess.
func Random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // it never fails
	return b
}

// packSpans writes spans as a row keeps them: of each the time (as the distance
// from the one before it), its size, the number of its records, its hash, the
// sender's id and the file's name.
func packSpans(spans []ingest.Span) []byte {
	b := []byte{1} // of this form
	var at int64
	for i := range spans {
		s := &spans[i]
		now := s.Event.At.UnixMicro()
		b = binary.AppendVarint(b, now-at)
		at = now
		b = binary.AppendUvarint(b, uint64(s.Size))
		b = binary.AppendUvarint(b, uint64(s.Last-s.First+1))
		b = append(b, s.SHA256[:]...)
		for _, text := range []string{s.Event.ID, s.Event.Name} {
			text = text[:min(len(text), maxSpanText)]
			b = binary.AppendUvarint(b, uint64(len(text)))
			b = append(b, text...)
		}
	}
	return b
}

// maxSpanText bounds a sender's id, in bytes.
const maxSpanText = 255

func unpackSpans(b []byte) (out []ingest.Span, err error) {
	if len(b) == 0 || b[0] != 1 {
		return nil, errors.New("it is of another form")
	}
	r := unpacker{b: b[1:]}
	var at, last int64
	for index := 1; len(r.b) > 0 && !r.bad; index++ {
		s := ingest.Span{Index: index, Event: &ingest.Event{}}
		at += r.varint()
		s.Event.At = time.UnixMicro(at)
		s.Size = int64(r.uvarint())
		s.First = last + 1
		last += int64(r.uvarint())
		s.Last = last
		copy(s.SHA256[:], r.bytes(32))
		s.Event.ID = string(r.bytes(int(r.uvarint())))
		s.Event.Name = string(r.bytes(int(r.uvarint())))
		out = append(out, s)
	}
	if r.bad {
		return nil, errors.New("it is damaged")
	}
	return slices.Clip(out), nil
}

type unpacker struct {
	b   []byte
	bad bool
}

func (r *unpacker) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	r.cut(n)
	return v
}

func (r *unpacker) varint() int64 {
	v, n := binary.Varint(r.b)
	r.cut(n)
	return v
}

func (r *unpacker) cut(n int) {
	if n <= 0 {
		r.bad, r.b = true, nil
		return
	}
	r.b = r.b[n:]
}

func (r *unpacker) bytes(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}
