package sinktest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	MainIfAsked()
	os.Exit(m.Run())
}

// start returns a target that listens.
func start(t *testing.T, o Options) *Target {
	t.Helper()
	target, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := target.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := target.Close(); err != nil {
			t.Error(err)
		}
	})
	return target
}

// post sends body under key and returns status and answer; status 0 is a broken
// connection.
func post(t *testing.T, url, key, body string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Idempotency-Key", key)
	req.Header.Set("X-Ingestd-Pipeline", "orders")
	req.Close = true // no retries of net/http's own
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

func want(t *testing.T, url, key, body string, status int) {
	t.Helper()
	if got, text, err := post(t, url, key, body); got != status {
		t.Fatalf("%s %s: status %d (%s), error %v, want %d", key, body, got, text, err, status)
	}
}

func TestJudge(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "journal")
	target := start(t, Options{Journal: journal})
	u := target.URL()
	want(t, u, "k1", `[{"id":"1","n":5},{"id":2}]`, 200)
	want(t, u, "k1", `[{"id":"1","n":5},{"id":2}]`, 200)
	want(t, u, "k2", `[{"id":"3"}]`, 200)
	if v := target.Judge([]string{"1", "2", "3"}); !v.OK() || v.Requests != 2 || v.IDs != 3 {
		t.Fatalf("all is well, but: %v", v)
	}
	if v := target.Judge([]string{"1", "2", "4"}); v.Missing.N != 1 || v.Unexpected.N != 1 || v.OK() {
		t.Errorf("4 is missing and 3 unexpected, but: %v", v)
	}
	want(t, u, "k3", `[{"id":"2"}]`, 200)            // under two keys
	want(t, u, "k2", `[{"id":"3","more":1}]`, 200)   // another body
	want(t, u, "k4", `[{"id":"5"},{"id":"5"}]`, 200) // twice in a body
	want(t, u, "", `[{"id":"6"}]`, 200)
	for name, judge := range map[string]func() (Verdict, error){
		"memory":  func() (Verdict, error) { return target.Judge(nil), nil },
		"journal": func() (Verdict, error) { return JudgeJournal(journal, nil) },
	} {
		v, err := judge()
		if err != nil {
			t.Fatal(err)
		}
		if v.TwoKeys.N != 1 || !slices.Equal(v.TwoKeys.Named, []string{"2"}) {
			t.Errorf("%s: two keys: %v", name, v)
		}
		if v.TwoBodies.N != 1 || !slices.Equal(v.TwoBodies.Named, []string{"k2"}) {
			t.Errorf("%s: two bodies: %v", name, v)
		}
		if v.Doubled.N != 1 || v.NoKey != 1 || v.OK() {
			t.Errorf("%s: doubled, no key: %v", name, v)
		}
	}
}

func TestSteps(t *testing.T) {
	target := start(t, Options{Script: Script{Steps: []Step{
		{Do: Status, Status: 503, RetryAfter: "60"},
		{Do: Reset, Unread: true},
		{Do: Reset, After: true},
		{},
		{Do: Half},
		{Do: Cut},
		{Do: Status, Status: 302, Location: "http://other.example/"},
	}}})
	u := target.URL()
	want(t, u, "k1", `{"id":1}`, 503)
	if n := target.Stats().Accepted; n != 0 {
		t.Errorf("a refused request was accepted: %d", n)
	}
	_, _, err := post(t, u, "k1", `{"id":1}`)
	if err == nil {
		t.Error("no reset before reading")
	}
	if n := target.Stats().Accepted; n != 0 {
		t.Errorf("accepted by a reset before reading: %d", n)
	}
	_, _, err = post(t, u, "k1", `{"id":1}`)
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		t.Errorf("after a reset: %v", err)
	}
	if n := target.Stats().Accepted; n != 1 {
		t.Errorf("accepted after a reset that follows taking: %d", n)
	}
	want(t, u, "k1", `{"id":1}`, 200)
	if _, _, err = post(t, u, "k2", `{"id":2}`); err == nil {
		t.Error("half a status line was read as an answer")
	}
	if code, _, err := post(t, u, "k3", `{"id":3}`); code != 200 || err == nil {
		t.Errorf("a cut answer: %d, %v", code, err)
	}
	want(t, u, "k4", `{"id":4}`, 302)
	want(t, u, "k4", `{"id":4}`, 200)
	s := target.Stats()
	if s.Early == 0 {
		t.Error("requests before Retry-After were not noticed")
	}
	if s.Answers["reset"] != 2 || s.Answers["status 503"] != 1 {
		t.Errorf("answers: %v", s.Answers)
	}
	if v := target.Judge([]string{"1", "2", "3", "4"}); !v.OK() {
		t.Error(v)
	}
}

func TestRefusals(t *testing.T) {
	target := start(t, Options{Script: Script{Refuse: []string{"7"}, MaxBytes: 100}})
	u := target.URL()
	want(t, u, "a", `[{"id":6},{"id":7}]`, 422)
	want(t, u, "b", `[{"id":6}]`, 200)
	want(t, u, "c", `[{"id":8,"x":"`+strings.Repeat("x", 100)+`"}]`, 413)
	if err := target.Set(Script{Always: &Step{Do: Status, Status: 401}}); err != nil {
		t.Fatal(err)
	}
	want(t, u, "d", `[{"id":9}]`, 401)
	if err := target.Set(Script{Known: 409}); err != nil {
		t.Fatal(err)
	}
	want(t, u, "d", `[{"id":9}]`, 200)
	want(t, u, "d", `[{"id":9}]`, 409)
	if got := target.Accepted(); !slices.Equal(got, []string{"6", "9"}) {
		t.Errorf("accepted %v", got)
	}
}

func TestHangIsReleased(t *testing.T) {
	target := start(t, Options{Script: Script{Steps: []Step{{Do: Hang}}}})
	done := make(chan int)
	go func() {
		code, _, _ := post(t, target.URL(), "k", `{"id":1}`)
		done <- code
	}()
	for released := false; !released; {
		target.Release()
		select {
		case code := <-done:
			if code != 503 {
				t.Errorf("released with %d", code)
			}
			released = true
		case <-time.After(time.Millisecond):
		}
	}
}

func TestWeatherIsTheSameForASeed(t *testing.T) {
	s := Script{Weather: []Chance{{P: 0.2, Step: Step{Do: Status, Status: 500}}, {P: 0.1, Step: Step{Do: Reset}}}}
	c, err := s.compile()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for n := range uint64(10_000) {
		step := c.weather(1, n)
		if again := c.weather(1, n); again != step {
			t.Fatal("the same seed and number, another weather")
		}
		counts[step.Do]++
	}
	if n := counts[Status]; n < 1800 || n > 2200 {
		t.Errorf("500 came %d times of 10,000 at 20 %%", n)
	}
	if n := counts[Reset]; n < 850 || n > 1150 {
		t.Errorf("reset came %d times of 10,000 at 10 %%", n)
	}
}

func TestScriptErrors(t *testing.T) {
	for _, s := range []Script{
		{Weather: []Chance{{P: 0.7}, {P: 0.7}}},
		{Weather: []Chance{{P: -1}}},
		{Steps: []Step{{Do: "explode"}}},
		{Steps: []Step{{Do: Status}}},
		{Always: &Step{Do: Status, Status: 99}},
	} {
		if _, err := New(Options{Script: s}); err == nil {
			t.Errorf("%+v was taken", s)
		}
	}
}

func TestFinders(t *testing.T) {
	for _, c := range []struct{ body, scan, exact string }{
		{`[{"id":"a"},{"id":"b"}]`, "a b", "a b"},
		{"{\"id\":1}\n{\"id\":2}\n", "1 2", "1 2"},
		{`{"orders":[{"x":1,"id": 12.50}]}`, "12.50", "12.50"},
		{`{"order_id":1,"id":"q\"t"}`, `q\"t`, `q"t`},
		{`{"line":{"id":5},"id":6}`, "5 6", "6"},
		{`[]`, "", ""},
	} {
		for name, f := range map[string]struct {
			finder
			want string
		}{"scan": {newFinder("id", false), c.scan}, "exact": {newFinder("id", true), c.exact}} {
			got, err := f.find(nil, []byte(c.body))
			if err != nil {
				t.Error(err)
			}
			if s := strings.Join(strings.Fields(string(got)), " "); s != f.want {
				t.Errorf("%s of %s: %q, want %q", name, c.body, s, f.want)
			}
		}
	}
}

func TestTornJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	target := start(t, Options{Journal: path})
	want(t, target.URL(), "k1", `{"id":1}`, 200)
	want(t, target.URL(), "k2", `{"id":22}`, 200)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) + 1 {
		if err := os.WriteFile(path+"2", whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := New(Options{Journal: path + "2"})
		if err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		v := again.Judge(nil)
		if v.Requests > 2 || (n == len(whole)) != (v.Requests == 2) || !v.OK() {
			t.Errorf("cut at %d: %v", n, v)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestProcess(t *testing.T) {
	ctx := t.Context()
	o := Options{Seed: 3, Journal: filepath.Join(t.TempDir(), "journal"), Script: Script{Steps: []Step{{Do: Status, Status: 500}}}}
	p, err := Spawn(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	want(t, p.URL, "k1", `{"id":1}`, 500)
	want(t, p.URL, "k1", `{"id":1}`, 200)
	if err := p.Set(ctx, Script{Refuse: []string{"2"}, RefuseStatus: 400}); err != nil {
		t.Fatal(err)
	}
	want(t, p.URL, "k2", `{"id":2}`, 400)
	if err := p.Set(ctx, Script{Steps: []Step{{Do: "explode"}}}); err == nil {
		t.Error("a bad script was taken")
	}
	s, err := p.Stats(ctx)
	if err != nil || s.Requests != 3 || s.Accepted != 1 {
		t.Errorf("stats %+v, %v", s, err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if v, err := p.Judge([]string{"1"}); err != nil || !v.OK() || v.Requests != 1 {
		t.Errorf("after a kill: %v, %v", v, err)
	}
	// It comes back where it was and remembers.
	addr := strings.TrimPrefix(p.URL, "http://")
	if p, err = SpawnAt(ctx, addr, Options{Journal: o.Journal, Script: Script{Known: 409}}); err != nil {
		t.Fatal(err)
	}
	want(t, p.URL, "k1", `{"id":1}`, 409)
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
}

func TestMainRefuses(t *testing.T) {
	for _, args := range [][]string{{"-nonsense"}, {"-script", "{"}, {"-addr", "nowhere:x"}} {
		var out, errs bytes.Buffer
		if code := Main(args, strings.NewReader(""), &out, &errs); code == 0 || errs.Len() == 0 {
			t.Errorf("%v: exit %d, said %q", args, code, errs.String())
		}
	}
}
