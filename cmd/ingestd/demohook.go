package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// demoHook is the demo's webhook pipeline: its path is made by ingestd, its
// listener takes any free port.
const demoHook = `
  shop_events:
    source:
      type: webhook                  # no path: an unguessable one is made; ingestd hooks prints it
      verify: {scheme: github, secret: a-secret-of-the-demo}
      event_id: {header: X-GitHub-Delivery}
    sinks: [api, copy]
`

// demoHooks is their listener.
const demoHooks = `webhooks: {listen: "127.0.0.1:0"}
`

// demoEvents are what the sender sends, each an order.
func demoEvents() []string {
	return []string{
		`{"event": "order.created", "order_id": "W-1", "total": 19.90}`,
		`[{"event": "order.paid", "order_id": "W-1"}, {"event": "order.created", "order_id": "W-2"}]`,
		`{"event": "order.shipped", "order_id": "W-1"}`,
	}
}

// send plays the webhook's sender: signed events, one of them twice, and one
// that somebody changed on the way.
func (d *demo) send(ctx context.Context) error {
	hooks, err := d.client.Hooks(ctx)
	if err != nil {
		return err
	}
	if len(hooks) != 1 {
		return fmt.Errorf("%d hooks, want one", len(hooks))
	}
	post := func(n int, body, signed string) (int, error) {
		mac := hmac.New(sha256.New, []byte("a-secret-of-the-demo"))
		mac.Write([]byte(signed))
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, hooks[0].URL, strings.NewReader(body))
		if err != nil {
			return 0, err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
		req.Header.Set("X-GitHub-Delivery", fmt.Sprintf("demo-%d", n))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err
		}
		return res.StatusCode, res.Body.Close()
	}
	events := demoEvents()
	last := len(events) - 1
	forged := strings.Replace(events[0], "19.90", "0.01", 1)
	var got []int
	for n, body := range events {
		status, err := post(n, body, body)
		if err != nil {
			return err
		}
		got = append(got, status)
	}
	repeat, err := post(last, events[last], events[last])
	changed, err2 := post(last+1, forged, events[0])
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	d.say("A sender called the webhook with %d signed events: %v. The last one again: %d. One that was changed on the way: %d.", len(events), got, repeat, changed)
	for _, status := range got {
		if status != http.StatusAccepted {
			d.off = append(d.off, fmt.Sprintf("an event was answered %d, not 202", status))
		}
	}
	if repeat != http.StatusOK || changed != http.StatusUnauthorized {
		d.off = append(d.off, fmt.Sprintf("a repeat was answered %d and a forged event %d, not 200 and 401", repeat, changed))
	}
	return nil
}
