package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ingestd/sinks/sinktest"
)

// freeAddr is a loopback address on which nobody listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// A caller sends signed events to a webhook, each until it was taken, as
// senders do.
type caller struct {
	url    string
	secret []byte
	client *http.Client
	resent atomic.Int64 // events that were sent more than once
	known  atomic.Int64 // of which the answer was 200: it was there already
}

func newCaller(url, secret string) *caller {
	return &caller{url: url, secret: []byte(secret), client: &http.Client{
		Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64},
	}}
}

func (c *caller) sign(body string) string {
	h := hmac.New(sha256.New, c.secret)
	h.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(h.Sum(nil))
}

// post sends one event once.
func (c *caller) post(ctx context.Context, id, body string) (status int, answer map[string]string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Hub-Signature-256", c.sign(body))
	req.Header.Set("X-GitHub-Delivery", id)
	res, err := c.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, nil, err
	}
	_ = json.Unmarshal(b, &answer)
	return res.StatusCode, answer, nil
}

// send sends an event until it was taken.
func (c *caller) send(ctx context.Context, id, body string) error {
	for try := 0; ; try++ {
		status, _, err := c.post(ctx, id, body)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && (status == http.StatusAccepted || status == http.StatusOK):
			if try > 0 {
				c.resent.Add(1)
			}
			if status == http.StatusOK {
				c.known.Add(1)
			}
			return nil
		case err == nil && status < 500 && status != http.StatusTooManyRequests:
			return fmt.Errorf("event %s was answered %d", id, status)
		}
		select {
		case <-time.After(5 * time.Millisecond): // as a sender waits
		case <-ctx.Done():
		}
	}
}

// TestWebhookTorture kills the daemon with SIGKILL while many senders call. In
// the end every event whose sender was told 2xx is at the target once, or again
// only with the same key and bytes.
func TestWebhookTorture(t *testing.T) {
	t.Parallel()
	events, kills := knob(t, "WEBHOOK_EVENTS", 1500), knob(t, "WEBHOOK_KILLS", 4)
	const senders = 32
	rnd := rand.New(rand.NewPCG(7, 7))
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	target, err := sinktest.Spawn(ctx, sinktest.Options{Seed: 3, Journal: filepath.Join(dir, "journal"), Script: sinktest.Script{Weather: []sinktest.Chance{
		{P: 0.02, Step: sinktest.Step{Do: sinktest.Status, Status: 503}},
		{P: 0.02, Step: sinktest.Step{Do: sinktest.Reset, After: true}},
		{P: 0.02, Step: sinktest.Step{Do: sinktest.Cut}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = target.Stop() })
	addr := freeAddr(t)
	config := filepath.Join(dir, "ingestd.yaml")
	write(t, config, fmt.Sprintf(`
state_dir: %s
log: {level: warn}
min_free: 0%%
admin: {listen: "unix:%s"}
webhooks: {listen: "%s"}
sinks:
  api: {type: http, url: %s/orders, timeout: 1s, batch: {max_records: 50}, retry: {initial: 5ms, max: 100ms}}
pipelines:
  orders:
    source: {type: webhook, path: /hooks/orders, verify: {scheme: github, secret: s3cr3t-of-tests}, event_id: {header: X-GitHub-Delivery}}
    sinks: [api]
`, filepath.Join(dir, "state"), filepath.Join(dir, "admin.sock"), addr, target.URL))
	command := func(args ...string) (*exec.Cmd, *strings.Builder) {
		cmd := exec.CommandContext(ctx, os.Args[0], append(args, "-c", config)...)
		cmd.Env = append(os.Environ(), asMain+"=1", "INGESTD_CONFIG=")
		out := &strings.Builder{}
		cmd.Stdout, cmd.Stderr = out, out
		return cmd, out
	}
	c := newCaller("http://"+addr+"/hooks/orders", "s3cr3t-of-tests")
	var ids []string
	for i := range events {
		ids = append(ids, fmt.Sprintf("e%d", i))
	}
	var next, told atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, senders)
	for s := range senders {
		wg.Go(func() {
			for errs[s] == nil {
				i := int(next.Add(1)) - 1
				if i >= events {
					return
				}
				errs[s] = c.send(ctx, "d-"+ids[i], fmt.Sprintf(`{"id":"%s","text":"an order of some length, %d"}`, ids[i], i))
				told.Add(1)
			}
		})
	}
	for kill := range kills {
		cmd, out := command("run")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// It dies in the midst of its share of the events.
		share := int64(events * (kill + 1) / (kills + 1))
		for told.Load() < share-int64(rnd.IntN(senders)) && ctx.Err() == nil && cmd.Process.Signal(syscall.Signal(0)) == nil {
			time.Sleep(time.Millisecond)
		}
		_ = cmd.Process.Kill()
		var ee *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &ee) || ee.ExitCode() != -1 {
			t.Fatalf("the daemon ended by itself: %v\n%s", err, out)
		}
	}
	cmd, out := command("run")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	// A repeat of the first event is known, across all those restarts.
	if status, answer, err := c.post(ctx, "d-e0", `{"id":"e0","text":"an order of some length, 0"}`); status != http.StatusOK || answer["arrival"] == "" || err != nil {
		t.Errorf("a repeat was answered %d %v, %v; want 200 with the first arrival", status, answer, err)
	}
	_ = cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err != nil {
		t.Errorf("stop: %v\n%s", err, out)
	}
	// What was stored and not delivered is finished without a listener.
	cmd, out = command("once")
	if err := cmd.Run(); err != nil {
		t.Fatalf("once: %v\n%s", err, out)
	}
	verdict, err := target.Judge(ids)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("WEBHOOK TORTURE %d events, %d kills, %d senders: %d sent again by their senders, %d of them known; %d requests at the target; %v",
		events, kills, senders, c.resent.Load(), c.known.Load(), verdict.Requests, verdict)
	if !verdict.OK() {
		t.Errorf("the target: %v", verdict)
	}
	cmd, out = command("audit")
	if err := cmd.Run(); err != nil {
		t.Errorf("audit: %v\n%s", err, out)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
