package alert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ingestd/ingest"
)

func TestHeartbeat(t *testing.T) {
	beats := make(chan string)
	var code atomic.Int64
	code.Store(200)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case beats <- r.Method + " " + r.URL.Path + " " + r.UserAgent():
		case <-r.Context().Done():
		}
		w.WriteHeader(int(code.Load()))
	}))
	defer srv.Close()
	var ill error
	log := &locked{}
	h := NewHeart(HeartOptions{
		UserAgent: "ingestd/test", Log: slog.New(slog.NewTextHandler(log, nil)), Well: func(context.Context) error { return ill },
	})
	url := ingest.NewSecret(srv.URL + "/hunter2")

	// It is made again and again, as long as it is wanted.
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { h.Run(ctx) })
	h.Configure(url, time.Millisecond)
	for range 3 {
		if got := <-beats; got != "GET /hunter2 ingestd/test" {
			t.Error(got)
		}
	}
	cancel()
	wg.Wait()

	wg.Go(func() {
		for range beats {
		}
	})
	for _, c := range []struct {
		url  ingest.Secret
		ill  error
		code int64
		want string
	}{
		{url, errors.New("the disk is full"), 200, "the disk is full"},
		{ingest.NewSecret("http://127.0.0.1:1/hunter2"), nil, 200, "ask 127.0.0.1:1: "},
		{url, nil, 500, "answered 500"},
		{url, nil, 302, "answered 302"},
		{url, nil, 204, ""},
	} {
		ill = c.ill
		code.Store(c.code)
		err := h.beat(t.Context(), c.url)
		h.report(t.Context(), err)
		if got := fmt.Sprint(err); c.want == "" && err != nil || !strings.Contains(got, c.want) || strings.Contains(got, "hunter2") {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	srv.Close()
	close(beats)
	wg.Wait()
	if s := log.String(); strings.Count(s, "no heartbeat") != 1 || strings.Count(s, "heard again") != 1 {
		t.Errorf("logged:\n%s", s)
	}
}

type locked struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestCheckURL(t *testing.T) {
	for text, ok := range map[string]bool{"https://hc-ping.com/x": true, "hc-ping.com/x": false, "ftp://x/": false, "http://": false, ":": false} {
		if err := CheckURL(ingest.NewSecret(text)); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}
