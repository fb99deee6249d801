package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/admin"
	"ingestd/ingest/pipeline"
	"ingestd/ingest/shape"
)

// maxLetters bounds the letters of one request.
const maxLetters = 100_000

// ReplayLetters implements admin.Letters.
func (d *Daemon) ReplayLetters(ctx context.Context, r admin.LettersRequest) (*admin.LettersResult, error) {
	res := &admin.LettersResult{DryRun: r.DryRun}
	f := r.LetterFilter
	var order []int64 // arrivals, as they came
	by := map[int64][]ingest.Letter{}
	f.Limit = maxLetters + 1
	for l, err := range d.ledger.Letters(ctx, f) {
		if err != nil {
			return nil, err
		}
		if res.Letters++; res.Letters > maxLetters {
			return nil, admin.Invalid("more than %d dead letters: choose fewer", maxLetters)
		}
		if by[l.Arrival] == nil {
			order = append(order, l.Arrival)
		}
		by[l.Arrival] = append(by[l.Arrival], l)
	}
	if len(f.IDs) > 0 && res.Letters < int64(len(f.IDs)) {
		return nil, fmt.Errorf("%d of the %d dead letters: %w", int64(len(f.IDs))-res.Letters, len(f.IDs), ingest.ErrNotFound)
	}
	for _, id := range order {
		do := d.replayOf
		if r.DryRun {
			do = d.rehearse
		}
		if err := do(ctx, id, by[id], r.Force, res); err != nil {
			return nil, err
		}
	}
	return res, nil
}

// rehearse says what a replay of the letters of one arrival would do.
func (d *Daemon) rehearse(ctx context.Context, arrival int64, letters []ingest.Letter, force bool, res *admin.LettersResult) error {
	_, l, err := d.of(ctx, arrival)
	if err != nil {
		return err
	}
	replay := l.engine.Load().ReplayLetters
	if force {
		replay = l.engine.Load().ForceLetters
	}
	out, err := replay(ctx, arrival, letters, true)
	if err != nil {
		return conflict(err)
	}
	res.Send += out.Sent
	res.AsWere += out.AsWere
	res.Duplicate += out.Duplicate
	res.Filtered += out.Filtered
	res.Dead += out.Dead
	res.Unfinished += out.Waiting
	return nil
}

// replayOf takes the letters of one arrival up again and counts what became of
// them.
func (d *Daemon) replayOf(ctx context.Context, arrival int64, letters []ingest.Letter, force bool, res *admin.LettersResult) error {
	_, l, err := d.of(ctx, arrival)
	if err != nil {
		return err
	}
	if err := l.started(ctx); err != nil {
		return err
	}
	newest := int64(0)
	for x, err := range d.ledger.Letters(ctx, ingest.LetterFilter{Arrival: arrival}) {
		if err != nil {
			return err
		}
		newest = max(newest, x.ID)
	}
	wait, stop := d.whileMoving(ctx, l)
	defer stop()
	replay := l.engine.Load().ReplayLetters
	if force {
		replay = l.engine.Load().ForceLetters
	}
	out, err := replay(wait, arrival, letters, false)
	unfinished := errors.Is(err, pipeline.ErrUnfinished) || errors.Is(err, context.Canceled)
	if err != nil && !unfinished {
		return conflict(err)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// Records that died again have letters of their own. They were settled in
	// memory; readers see them once that is committed.
	if err := d.ledger.Barrier(ctx); err != nil {
		return err
	}
	died := map[int64]bool{}
	reason := ""
	for x, err := range d.ledger.Letters(ctx, ingest.LetterFilter{Arrival: arrival}) {
		if err != nil {
			return err
		}
		if x.ID > newest && !died[x.Pos.Record] {
			died[x.Pos.Record] = true
			if reason == "" {
				reason = x.Reason
			}
		}
	}
	res.Duplicate += out.Duplicate
	res.Filtered += out.Filtered
	res.Dead += out.Dead + int64(len(died))
	res.Unfinished += out.Waiting
	sent := max(0, out.Sent-int64(len(died)))
	if unfinished {
		res.Unfinished += sent
		if reason == "" {
			reason = l.trouble()
		}
	} else {
		res.Delivered += sent
	}
	if reason == "" && out.Dead > 0 {
		i := slices.IndexFunc(letters, func(x ingest.Letter) bool { return x.Sink == "" })
		reason = letters[max(i, 0)].Reason
	}
	if res.Error == "" {
		res.Error = reason
	}
	return nil
}

// whileMoving is a context that ends with ctx, or when the line's sinks have
// been in trouble for so long that nobody should wait for them.
func (d *Daemon) whileMoving(ctx context.Context, l *line) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(ctx)
	go func() {
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if l.blocked() {
					stop()
					return
				}
			}
		}
	}()
	return ctx, stop
}

// trouble is why the line's records do not move.
func (l *line) trouble() string {
	for _, h := range l.engine.Load().Health() {
		if h.State != sinkOK {
			return "sink " + h.Sink + ": " + h.Reason
		}
	}
	return "the target did not answer"
}

// Forget implements admin.Keys.
func (d *Daemon) Forget(ctx context.Context, name string, fields map[string]string) (int64, error) {
	l, err := d.lineOf(name)
	if err != nil {
		return 0, err
	}
	keys := l.cfg.Record.Key
	switch {
	case len(keys) == 0:
		return 0, admin.Conflict("", "pipeline %s has no record.key, so it remembers no keys", name)
	case slices.Equal(keys, []string{"*"}):
		return 0, admin.Conflict("drop the file again under replay --force", "the key of pipeline %s is the whole record: it cannot be named by fields", name)
	}
	var rec ingest.Record
	for _, k := range keys {
		v, ok := fields[k]
		if !ok {
			return 0, admin.Invalid("the key of pipeline %s is %q: a value for %q is missing", name, keys, k)
		}
		rec.Fields = append(rec.Fields, ingest.Field{Name: k, Kind: ingest.String, Raw: []byte(v)})
	}
	if len(fields) > len(keys) {
		return 0, admin.Invalid("the key of pipeline %s is %q, nothing else", name, keys)
	}
	// Only the key is asked for, so other fields may be missing.
	keyed, err := shape.Compile(shape.Options{Key: keys})
	if err != nil {
		return 0, err
	}
	var got shape.Result
	if keyed.Bind(d.ledger.Seed(), l.plan.Scope).Apply(&rec, &got); got.Fault != "" {
		return 0, admin.Invalid("%s", got.Fault)
	}
	n, err := d.ledger.Forget(ctx, l.plan.Scope, []ingest.Key{got.Key})
	return int64(n), err
}
