package pipeline_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"ingestd/ingest"
)

// target is a sink that remembers what it took, and answers as answer says. Its
// memory outlives its process where it has a journal.
type target struct {
	name    string
	journal string // a file; "" = none

	mu     sync.Mutex
	ids    map[string]int      // times taken
	keys   map[string]string   // key → body, of all requests
	under  map[string][]string // id → keys it was taken under
	order  []string            // ids as they were taken
	wrong  []string
	sends  int
	answer func(r *ingest.Request, ids []string) (ingest.Answer, error)
	// hang, where it returns a channel, keeps a request until that is closed.
	hang func(r *ingest.Request, ids []string) <-chan struct{}
}

func newTarget() *target {
	return &target{ids: map[string]int{}, keys: map[string]string{}, under: map[string][]string{}}
}

// recallTarget is a target that knows what one of its name took before.
func recallTarget(t testing.TB, name, journal string) *target {
	tg := newTarget()
	tg.name, tg.journal = name, journal
	text, err := os.ReadFile(journal)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
		if f[0] != name {
			continue
		}
		tg.keys[f[1]] = f[3]
		if f[2] != "-" {
			tg.took(f[1], strings.Split(f[2], ","))
		}
	}
	return tg
}

func (t *target) took(key string, ids []string) {
	for _, id := range ids {
		t.ids[id]++
		t.order = append(t.order, id)
		if !slices.Contains(t.under[id], key) {
			t.under[id] = append(t.under[id], key)
		}
	}
}

// note writes what happened where a later process finds it.
func (t *target) note(key, ids, body string) {
	if t.journal == "" {
		return
	}
	f, err := os.OpenFile(t.journal, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	fmt.Fprintf(f, "%s %s %s %s\n", t.name, key, ids, body)
}

func (t *target) Send(ctx context.Context, r *ingest.Request) (ingest.Answer, error) {
	recs, err := objects(r.Body)
	if err != nil {
		t.mu.Lock()
		t.wrong = append(t.wrong, fmt.Sprintf("%s: %q", err, r.Body))
		t.mu.Unlock()
		return ingest.Answer{}, err
	}
	ids := make([]string, len(recs))
	for i, rec := range recs {
		ids[i] = fmt.Sprint(rec["id"])
	}
	t.mu.Lock()
	t.sends++
	body := string(r.Body)
	if old, ok := t.keys[r.Key]; ok && old != body {
		t.wrong = append(t.wrong, "one key, two bodies")
	}
	t.keys[r.Key] = body
	t.note(r.Key, "-", body)
	hang := t.hang
	t.mu.Unlock()
	if hang != nil {
		if c := hang(r, ids); c != nil {
			select {
			case <-c:
			case <-ctx.Done():
				return ingest.Answer{}, ctx.Err()
			}
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if string(r.Body) != body {
		t.wrong = append(t.wrong, "the body changed while it was sent")
	}
	if t.answer != nil {
		if ans, err := t.answer(r, ids); err != nil || ans.Status != 0 {
			return ans, err
		}
	}
	t.took(r.Key, ids)
	t.note(r.Key, strings.Join(ids, ","), body)
	return ingest.Answer{Status: 200}, nil
}

// objects reads a JSON array or NDJSON.
func objects(body []byte) (recs []map[string]any, err error) {
	if bytes.HasPrefix(body, []byte("[")) {
		return recs, json.Unmarshal(body, &recs)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	for {
		var rec map[string]any
		if err := dec.Decode(&rec); err == io.EOF {
			return recs, nil
		} else if err != nil {
			return nil, err
		}
		recs = append(recs, rec)
	}
}

func (t *target) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.ids)
}

func (t *target) requests() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sends
}

func (t *target) set(answer func(*ingest.Request, []string) (ingest.Answer, error)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answer = answer
}

// once checks that the target has exactly these ids, each under one key, and
// that no key had two bodies. again is how often a request may have been taken
// twice under its key.
func (t *target) has(tb testing.TB, want map[string]bool, again bool) {
	tb.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.wrong {
		tb.Errorf("%s: %s", t.name, w)
	}
	missing, extra := 0, 0
	for id := range want {
		if t.ids[id] == 0 {
			missing++
		}
	}
	for id, n := range t.ids {
		switch {
		case !want[id]:
			extra++
		case len(t.under[id]) > 1:
			tb.Errorf("%s: id %s was taken under %d keys", t.name, id, len(t.under[id]))
		case n > 1 && !again:
			tb.Errorf("%s: id %s was taken %d times", t.name, id, n)
		}
	}
	if missing+extra > 0 {
		tb.Errorf("%s: %d ids are missing, %d too many; has %d", t.name, missing, extra, len(t.ids))
	}
}

// upTo is the ids from 0 to n-1.
func upTo(n int) map[string]bool { return between(0, n) }

func between(a, b int) map[string]bool {
	m := map[string]bool{}
	for i := a; i < b; i++ {
		m[fmt.Sprint(i)] = true
	}
	return m
}

func down(*ingest.Request, []string) (ingest.Answer, error) {
	return ingest.Answer{}, &ingest.Unanswered{Err: errors.New("503"), Answer: ingest.Answer{Status: 503}}
}

func refuse(status int, bad ...string) func(*ingest.Request, []string) (ingest.Answer, error) {
	return func(_ *ingest.Request, ids []string) (ingest.Answer, error) {
		for _, id := range ids {
			if slices.Contains(bad, id) {
				return ingest.Answer{}, &ingest.Reject{Reason: "no " + id, Answer: ingest.Answer{Status: status, Body: "bad " + id}}
			}
		}
		return ingest.Answer{}, nil
	}
}
