package httpapi_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"ingestd/ingest"
	"ingestd/sinks/httpapi"
)

func unpack(encoding string, r io.Reader) (string, error) {
	if encoding == "gzip" {
		z, err := gzip.NewReader(r)
		if err != nil {
			return "", err
		}
		b, err := io.ReadAll(z)
		return string(b), err
	}
	z, err := zstd.NewReader(r)
	if err != nil {
		return "", err
	}
	defer z.Close()
	b, err := io.ReadAll(z)
	return string(b), err
}

// raw serves bare connections: n counts them from 1. They are closed when the
// test ends.
func raw(t *testing.T, handle func(n int, c net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		all   sync.WaitGroup
		mu    sync.Mutex
		conns []net.Conn
	)
	all.Go(func() {
		for n := 1; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			all.Go(func() {
				defer c.Close()
				handle(n, c)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return "http://" + ln.Addr().String() + "/"
}

// answering reads one request and writes text.
func answering(text string) func(int, net.Conn) {
	return func(_ int, c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		io.Copy(io.Discard, r.Body)
		io.WriteString(c, text)
	}
}

func reset(c net.Conn) {
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

func TestBrokenConnections(t *testing.T) {
	for name, c := range map[string]struct {
		handle func(int, net.Conn)
		want   string
		status int
	}{
		"reset before reading":    {func(_ int, c net.Conn) { reset(c) }, "retry", 0},
		"closed before reading":   {func(_ int, c net.Conn) {}, "retry", 0},
		"reset after reading":     {func(n int, c net.Conn) { answering("")(n, c); reset(c) }, "retry", 0},
		"closed after reading":    {answering(""), "retry", 0},
		"half a status line":      {answering("HTTP/1.1 2"), "retry", 0},
		"half a header":           {answering("HTTP/1.1 200 OK\r\nContent-Le"), "retry", 0},
		"no HTTP":                 {answering("220 mail.example ESMTP\r\n"), "retry", 0},
		"2xx, body cut":           {answering("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"ok\""), "delivered", 200},
		"2xx, chunk cut":          {answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100\r\nabc"), "delivered", 200},
		"422, body cut":           {answering("HTTP/1.1 422 No\r\nContent-Length: 100\r\n\r\nno such"), "reject", 422},
		"503, body cut":           {answering("HTTP/1.1 503 No\r\nContent-Length: 100\r\n\r\nno"), "retry", 503},
		"lies about its length":   {answering("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nmore than two"), "delivered", 200},
		"no length at all":        {answering("HTTP/1.1 200 OK\r\n\r\nall of it"), "delivered", 200},
		"HTTP/1.0":                {answering("HTTP/1.0 200 OK\r\n\r\nold"), "delivered", 200},
		"1 MiB of headers":        {answering("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n"), "retry", 0},
		"many headers":            {answering("HTTP/1.1 200 OK\r\n" + strings.Repeat("X: 1\r\n", 100_000) + "\r\n"), "retry", 0},
		"endless interim answers": {answering(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 10_000) + "HTTP/1.1 200 OK\r\n\r\n"), "retry", 0},
		"three interim answers":   {answering(strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 3) + "HTTP/1.1 200 OK\r\n\r\n"), "delivered", 200},
		"another protocol":        {answering("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"), "retry", 101},
		"a status out of bounds":  {answering("HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"), "retry", 999},
		"a status that is none":   {answering("HTTP/1.1 abc Odd\r\n\r\n"), "retry", 0},
		"early refusal, then cut": {answering("HTTP/1.1 413 Too Large\r\nConnection: close\r\n\r\ntoo large"), "reject", 413},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSink(t, httpapi.Options{URL: raw(t, c.handle)})
			a, err := s.Send(t.Context(), request())
			if err != nil {
				a = ingest.AnswerOf(err)
			}
			if kind(err) != c.want || a.Status != c.status {
				t.Errorf("%s, status %d (%v), want %s, %d", kind(err), a.Status, err, c.want, c.status)
			}
			var un *ingest.Unanswered
			if c.want == "retry" && !errors.As(err, &un) {
				t.Errorf("%v is not *Unanswered", err)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := "http://" + ln.Addr().String() + "/"
	ln.Close()
	for _, u := range []string{refused, "http://no-such-host.invalid/"} {
		s := newSink(t, httpapi.Options{URL: u, Timeout: 10 * time.Second})
		if _, err := s.Send(t.Context(), request()); kind(err) != "retry" || !strings.Contains(err.Error(), "POST "+u) {
			t.Errorf("%s: %v", u, err)
		}
		if err := s.Connect(t.Context()); err == nil {
			t.Errorf("%s: connected", u)
		}
	}
}

func TestTimeout(t *testing.T) {
	hang := func(_ int, c net.Conn) { io.Copy(io.Discard, c) }
	drip := func(_ int, c net.Conn) {
		answering("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")(0, c)
		for {
			if _, err := io.WriteString(c, "x"); err != nil {
				return
			}
			runtime.Gosched()
		}
	}
	s := newSink(t, httpapi.Options{URL: raw(t, hang), Timeout: 50 * time.Millisecond})
	_, err := s.Send(t.Context(), request())
	if kind(err) != "retry" || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer within 50ms") {
		t.Errorf("%v", err)
	}
	// The status came: it is delivered, however long the body would take.
	s = newSink(t, httpapi.Options{URL: raw(t, drip), Timeout: 100 * time.Millisecond})
	if _, err := s.Send(t.Context(), request()); err != nil {
		t.Errorf("%v", err)
	}
	// The caller's end is told apart from the target's silence.
	ctx, cancel := context.WithCancelCause(t.Context())
	inside := make(chan struct{})
	s = newSink(t, httpapi.Options{URL: raw(t, func(_ int, c net.Conn) {
		close(inside)
		io.Copy(io.Discard, c)
	})})
	go func() {
		<-inside
		cancel(errors.New("stopping"))
	}()
	if _, err := s.Send(ctx, request()); kind(err) != "retry" || !strings.Contains(err.Error(), "interrupted: stopping") {
		t.Errorf("%v", err)
	}
}

// TestAnswersAreBounded: whatever comes, 2 KiB are kept, not much more than 1
// MiB is read, and the connection is used again only after a short answer.
func TestAnswersAreBounded(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	for range 8 {
		z.Write(make([]byte, 1<<20))
	}
	z.Close()
	var sent atomic.Int64
	endless := func(_ int, c net.Conn) {
		answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")(0, c)
		chunk := fmt.Sprintf("%x\r\n%s\r\n", 32<<10, strings.Repeat("é", 16<<10))
		for {
			n, err := io.WriteString(c, chunk)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}
	for name, c := range map[string]struct {
		handle func(int, net.Conn)
		body   string // its beginning
	}{
		"endless":   {endless, "éé"},
		"gzip bomb": {answering("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + bomb.String()), "  "},
		"gzip":      {answering("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"), "(the answer is no gzip)"},
		"brotli":    {answering("HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc"), "(the answer is compressed)"},
		"controls":  {answering("HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\na\x1b[2J\x00\xff\u202eb\u009b\n\tc"), "a [2J \uFFFD b \n\tc"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSink(t, httpapi.Options{URL: raw(t, c.handle), Timeout: 20 * time.Second})
			a, err := s.Send(t.Context(), request())
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Body) > 2048 || !strings.HasPrefix(a.Body, c.body) {
				t.Errorf("kept %d bytes: %.60q", len(a.Body), a.Body)
			}
		})
	}
	// What was written beyond what was read sits in socket buffers.
	if n := sent.Load(); n > 16<<20 {
		t.Errorf("the endless answer got rid of %d bytes", n)
	}
}

func TestConnectionsAreKept(t *testing.T) {
	for _, size := range []int{0, 100, 2048, 60_000, 1 << 20} {
		var conns sync.Map
		srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
			conns.Store(r.RemoteAddr, true)
			io.Copy(io.Discard, r.Body)
			w.Write(make([]byte, size))
		})
		s := newSink(t, httpapi.Options{URL: srv.URL})
		for range 5 {
			if _, err := s.Send(t.Context(), request()); err != nil {
				t.Fatal(err)
			}
		}
		n := 0
		conns.Range(func(any, any) bool { n++; return true })
		if n != 1 {
			t.Errorf("answers of %d bytes: %d connections for 5 requests", size, n)
		}
	}
}

// TestDeadKeepAlive: the target closed an idle connection just as it is used
// again. The request goes out anew, under the same key, with the same bytes.
func TestDeadKeepAlive(t *testing.T) {
	for _, compress := range []string{httpapi.CompressNone, httpapi.CompressGzip} {
		t.Run(compress, func(t *testing.T) {
			var mu sync.Mutex
			var seen []string
			u := raw(t, func(n int, c net.Conn) {
				in := bufio.NewReader(c)
				for i := 0; ; i++ {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					b, err := io.ReadAll(r.Body)
					if err != nil {
						return
					}
					mu.Lock()
					seen = append(seen, r.Header.Get("Idempotency-Key")+" "+string(b))
					mu.Unlock()
					if n == 1 && i == 1 {
						reset(c) // taken, perhaps; nobody knows
						return
					}
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			})
			s := newSink(t, httpapi.Options{URL: u, MaxConns: 1, Compress: compress})
			for range 2 {
				if _, err := s.Send(t.Context(), request()); err != nil {
					t.Fatal(err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if len(seen) != 3 || seen[1] != seen[2] || seen[1] != seen[0] {
				t.Errorf("seen: %q", seen)
			}
		})
	}
}

// TestBodyIsTheCallersAgain: net/http still writes a body when Send returns.
// No byte of the next request may get into it, nor may the race detector see a
// read of what the caller has by then.
func TestBodyIsTheCallersAgain(t *testing.T) {
	const size = 3 << 20 // more than sockets hold that are not read from
	for name, answer := range map[string]string{
		"answers before it has read": "HTTP/1.1 422 No\r\nContent-Length: 2\r\n\r\nno",
		"never answers":              "",
	} {
		t.Run(name, func(t *testing.T) {
			returned := make(chan struct{}) // Send has
			u := raw(t, func(_ int, c net.Conn) {
				c.(*net.TCPConn).SetReadBuffer(4 << 10)
				r, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				io.WriteString(c, answer)
				<-returned
				b, _ := io.ReadAll(r.Body)
				if len(b) > 0 && bytes.Count(b, b[:1]) != len(b) {
					t.Error("a body holds bytes of another request")
				}
			})
			s := newSink(t, httpapi.Options{URL: u, Timeout: 20 * time.Millisecond})
			body := make([]byte, size)
			for i := range 6 {
				copy(body, bytes.Repeat([]byte{'a' + byte(i)}, size))
				r := request()
				r.Body = body
				s.Send(t.Context(), r)
			}
			close(returned)
		})
	}
}
