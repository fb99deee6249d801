package daemon

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/config"
	"ingestd/formats"
	"ingestd/ingest"
	"ingestd/samples"
)

// loadText loads a config from a file of its own.
func loadText(t *testing.T, text string) (*config.Config, config.Problems) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ingestd.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path)
}

func TestLoadJoinsTheRooms(t *testing.T) {
	const head = "sinks: {out: {type: file, path: out.ndjson}}\npipelines:\n  p:\n    source: {type: dir, path: drop}\n    sinks: [out]\n"
	for name, c := range map[string]struct{ text, at, message string }{
		"format": {head + "    format: {type: csv, encoding: klingon-1}\n", ":6:", "klingon-1"},
		"shape":  {head + "    record:\n      key: [id, \"*\"]\n", ":7:", "stands alone"},
		"source": {strings.Replace(head, "path: drop}", "path: drop, when_done: {action: move, to: \".\"}}", 1), ":4:", "taken up again"},
		"later":  {head + "    record: {where: \"x == 1\"}\n", ":6:", "where"},
		"fixed":  {head + "    format: {type: fixed, columns: [{name: a, width: 1}], encoding: klingon-1}\n", ":6:", "klingon-1"},
		"url":    {strings.Replace(head, "{type: file, path: out.ndjson}", "{type: http, url: \"https://x.example/{\"}", 1), ":1:", "brace"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, problems := loadText(t, c.text)
			if cfg != nil || problems.Err() == nil {
				t.Fatalf("it was taken: %v", problems)
			}
			if text := problems.Error(); !strings.Contains(text, c.at) || !strings.Contains(text, c.message) {
				t.Errorf("%q holds no %q or no %q", text, c.at, c.message)
			}
		})
	}
	if cfg, problems := loadText(t, head); cfg == nil {
		t.Errorf("refused: %v", problems)
	}
}

// Every sample compiles, and the plan of its snapshot is the same plan.
func TestCompileSnapshot(t *testing.T) {
	cfg, problems := loadText(t, string(samples.Quickstart()))
	if cfg == nil {
		t.Fatal(problems)
	}
	m := newMeter(deaf{})
	for i := range cfg.Pipelines {
		p := &cfg.Pipelines[i]
		snapshot, err := p.Snapshot(cfg.Sinks)
		if err != nil {
			t.Fatal(err)
		}
		old, settings, err := config.FromSnapshot(snapshot)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := compile(old, settings, m)
		if err != nil {
			t.Fatal(err)
		}
		if plan.Scope != p.Name || !plan.Dedupe || !plan.SkipFiles || plan.BadLimit != 0.2 || len(plan.Sinks) != 2 || plan.Sinks[0].MaxRecords != 500 {
			t.Errorf("%s: %+v", p.Name, plan)
		}
	}
}

// A record's bytes, read by themselves, are the record that the file had.
func TestFragments(t *testing.T) {
	cfg, problems := loadText(t, string(samples.Quickstart()))
	if cfg == nil {
		t.Fatal(problems)
	}
	for _, in := range samples.Inputs() {
		t.Run(in.Name(), func(t *testing.T) {
			spec, err := formatSpec(cfg.Pipeline(in.Pipeline))
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range []reading{spec, {formats.Spec{Type: formats.Auto}}} {
				whole := strings.NewReader(string(in.Bytes()))
				reader, err := r.open(t.Context(), ingest.Input{Name: in.Name(), Size: whole.Size(), ReaderAt: whole})
				if err != nil {
					t.Fatal(err)
				}
				n := fragments(t, r, reader)
				if want := len(in.Expected()); n != want {
					t.Errorf("%d records were compared, want %d", n, want)
				}
				if err := reader.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func fragments(t *testing.T, r reading, reader ingest.Reader) (n int) {
	t.Helper()
	var c, one ingest.Chunk
	var enc ingest.Encoder
	for {
		ended := reader.Read(t.Context(), &c)
		for _, rec := range c.Records {
			n++
			f, err := r.fragment(t.Context(), reader.Details(), rec.Raw)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Read(t.Context(), &one); err != nil && !errors.Is(err, io.EOF) || len(one.Records) != 1 {
				t.Fatalf("%s: %d records, %d faults, %v", rec.Raw, len(one.Records), len(one.Faults), err)
			}
			want, got := enc.Append(nil, rec.Fields), enc.Append(nil, one.Records[0].Fields)
			if string(want) != string(got) {
				t.Errorf("%s\n in the file: %s\n by itself:   %s", rec.Raw, want, got)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
		if errors.Is(ended, io.EOF) {
			return n
		}
		if ended != nil {
			t.Fatal(ended)
		}
	}
}

func TestRowReaderRefuses(t *testing.T) {
	for _, raw := range []string{"", "x", "{}", "[1]", "[1,2,3]", `[1,[2]]`, `[1,{"B":1,"C":2}]`, `[1,{"B":{}}]`, `[1,{}]`} {
		r := &rowReader{raw: []byte(raw), header: []string{"a", "b"}}
		var c ingest.Chunk
		var re *ingest.ReadError
		if err := r.Read(t.Context(), &c); !errors.As(err, &re) {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

func FuzzRowReader(f *testing.F) {
	f.Add([]byte(`[1,{"K":"x\ny"},null]`), 3)
	f.Add([]byte(`[true,-0.10]`), 2)
	f.Fuzz(func(t *testing.T, raw []byte, columns int) {
		header := slices.Repeat([]string{"c"}, min(max(columns, 0), 64))
		var c ingest.Chunk
		if err := (&rowReader{raw: raw, header: header}).Read(context.Background(), &c); err == nil && len(c.Records) != 1 {
			t.Errorf("%q: %d records", raw, len(c.Records))
		}
	})
}

func TestMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(quietObserver{})
		m.ArrivalFound("p", 100)
		m.ArrivalFound("p", 50)
		open := m.gauged(func(_ context.Context, in ingest.Input) (ingest.Reader, error) {
			buf := make([]byte, 30)
			_, _ = in.ReadAt(buf, 10)
			return nothing{}, nil
		})
		r, err := open(t.Context(), ingest.Input{Size: 100, ReaderAt: strings.NewReader(strings.Repeat("x", 100))})
		if err != nil {
			t.Fatal(err)
		}
		if p := m.progress(); p.Bytes != 40 || p.Total != 150 {
			t.Errorf("while reading: %+v", p)
		}
		_ = r.Close()
		m.ArrivalEnded(&ingest.Arrival{Found: ingest.Found{Size: 100}})
		if p := m.progress(); p.Bytes != 100 {
			t.Errorf("after: %+v", p)
		}
		m.Settled("p", "delivered", 300)
		time.Sleep(29 * time.Second) // synctest's clock
		if r := m.rate("p"); r != 10 {
			t.Errorf("rate %v, want 300 records in 30 s", r)
		}
		time.Sleep(60 * time.Second)
		if r := m.rate("p"); r != 0 {
			t.Errorf("rate %v after a quiet minute", r)
		}
		if m.progress().Records != 300 || m.rate("unknown") != 0 {
			t.Error("records")
		}
	})
}

type quietObserver struct{}

func (quietObserver) ArrivalFound(string, int64)                           {}
func (quietObserver) ArrivalEnded(*ingest.Arrival)                         {}
func (quietObserver) Settled(string, string, int64)                        {}
func (quietObserver) Sent(string, string, string, int, int, time.Duration) {}
func (quietObserver) SourceError(string, error)                            {}

type nothing struct{}

func (nothing) Read(context.Context, *ingest.Chunk) error { return io.EOF }
func (nothing) Details() ingest.Details                   { return ingest.Details{} }
func (nothing) Close() error                              { return nil }

// moved is a ledger that knows arrivals whose files were moved.
type moved struct {
	ingest.Query
	all   []ingest.Arrival
	looks int
}

func (m *moved) Arrivals(_ context.Context, f ingest.ArrivalFilter) iter.Seq2[ingest.Arrival, error] {
	return func(yield func(ingest.Arrival, error) bool) {
		for _, a := range m.all {
			if a.State == f.State && a.FoundAt.Before(f.Until) && !a.FoundAt.Before(f.Since) {
				m.looks++
				if !yield(a, nil) {
					return
				}
			}
		}
	}
}

func TestPruneFiles(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	const day = 24 * time.Hour
	file := func(name, text string, age time.Duration, state ingest.State, change func(*ingest.Arrival)) ingest.Arrival {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		mtime := now.Add(-age)
		if err := os.Chtimes(path, mtime, mtime); err != nil {
			t.Fatal(err)
		}
		a := ingest.Arrival{
			State: state, FinishedAt: now.Add(-age), PutAway: true, Away: ingest.Disposition{Action: "move", To: path},
			Found: ingest.Found{FoundAt: now.Add(-age - time.Hour), Size: int64(len(text)), ModTime: mtime},
		}
		if change != nil {
			change(&a)
		}
		return a
	}
	m := &moved{all: []ingest.Arrival{
		file("old", "x", 31*day, ingest.Done, nil),
		file("young", "x", 29*day, ingest.Done, nil),
		file("ended late", "x", 31*day, ingest.Done, func(a *ingest.Arrival) { a.FinishedAt = now.Add(-day) }),
		file("duplicate", "x", 31*day, ingest.DuplicateState, nil),
		file("failed", "x", 31*day, ingest.Failed, nil),
		file("long failed", "x", 91*day, ingest.Failed, nil),
		file("another", "xy", 31*day, ingest.Done, func(a *ingest.Arrival) { a.Size = 1 }),
		file("touched", "x", 31*day, ingest.Done, func(a *ingest.Arrival) { a.ModTime = now }),
		file("kept", "x", 31*day, ingest.Done, func(a *ingest.Arrival) { a.Away.Action = "keep" }),
		file("on its way", "x", 31*day, ingest.Done, func(a *ingest.Arrival) { a.PutAway = false }),
		file("gone", "x", 31*day, ingest.Done, func(a *ingest.Arrival) { a.Away.To = filepath.Join(dir, "no", "such") }),
	}}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "young"), link); err != nil {
		t.Fatal(err)
	}
	linked := m.all[0]
	linked.Away.To = link
	m.all = append(m.all, linked)

	p := &pruner{query: m, keep: config.Retention{Done: 30 * day, Failed: 90 * day}, now: func() time.Time { return now }}
	for _, name := range []string{"old.sha256", "young.sha256"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.sidecar = func(_, path string) string { return path + ".sha256" }
	r, err := p.prune(t.Context())
	if err != nil || r.Files != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	var left []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		left = append(left, e.Name())
	}
	want := []string{"another", "ended late", "failed", "gone", "kept", "link", "on its way", "touched", "young", "young.sha256"}
	if !slices.Equal(left, want) {
		t.Errorf("left: %q\nwant: %q", left, want)
	}

	// What was looked at long ago is not looked at again.
	m.all = append(m.all, file("very old", "x", 60*day, ingest.Done, nil))
	before := m.looks
	if _, err := p.prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := m.looks - before; again > before {
		t.Errorf("%d arrivals were looked at again", again)
	}
}
