package webhook_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"ingestd/ingest/source/webhook"
)

func unpack(t *testing.T, got told) string {
	t.Helper()
	var r io.Reader = strings.NewReader(got.body)
	var err error
	switch got.header.Get("Content-Encoding") {
	case "gzip":
		r, err = gzip.NewReader(r)
	case "deflate":
		r, err = zlib.NewReader(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var codings = map[string]func(io.Writer) io.WriteCloser{
	"gzip":    func(w io.Writer) io.WriteCloser { return must(gzip.NewWriterLevel(w, gzip.BestSpeed)) },
	"deflate": func(w io.Writer) io.WriteCloser { return must(zlib.NewWriterLevel(w, zlib.BestSpeed)) },
	"br":      func(w io.Writer) io.WriteCloser { return brotli.NewWriterLevel(w, brotli.BestSpeed) },
	"zstd":    func(w io.Writer) io.WriteCloser { return must(zstd.NewWriter(w)) },
}

func packed(t *testing.T, coding string, n int) string {
	t.Helper()
	var b bytes.Buffer
	z := codings[coding](&b)
	io.WriteString(z, `"`)
	block := strings.Repeat("x", 64<<10)
	for n -= 2; n > 0; n -= len(block) {
		io.WriteString(z, block[:min(n, len(block))])
	}
	io.WriteString(z, `"`)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestDecoding: a body may be as long as the limit before decoding and after.
// Its signature is over what was sent.
func TestDecoding(t *testing.T) {
	const limit = 100_000
	for coding := range codings {
		for n, want := range map[int]int{10: 202, limit - 1: 202, limit: 202, limit + 1: 413, 16 << 20: 413} {
			h := githubHook()
			h.MaxBody = limit
			s := open(t, h, webhook.ServerOptions{})
			a := signed(packed(t, coding, n), "")
			a.header.Set("Content-Encoding", coding)
			if len(a.body) > limit {
				continue
			}
			got := s.send(t, a)
			if got.status != want {
				t.Errorf("%s of %d: %d %s", coding, n, got.status, got.body)
			}
			if b := s.shelf.bodies(); want == 202 && (len(b) != 1 || len(b[0]) != n) {
				t.Errorf("%s of %d: %d events", coding, n, len(b))
			}
		}
		s := open(t, githubHook(), webhook.ServerOptions{})
		whole := packed(t, coding, 1000)
		for what, body := range map[string]string{"cut": whole[:len(whole)-3], "trailing": whole + "x"} {
			a := signed(body, "")
			a.header.Set("Content-Encoding", coding)
			if got := s.send(t, a); got.status != 400 {
				t.Errorf("%s, %s: %d %s", coding, what, got.status, got.body)
			}
		}
	}
}

// endless is a body of a gigabyte that says nothing of its length.
type endless struct{ left atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	n := min(int64(len(p)), e.left.Load())
	if n == 0 {
		return 0, io.EOF
	}
	e.left.Add(-n)
	return int(n), nil
}

func TestGigabyteInChunks(t *testing.T) {
	s := open(t, noneHook(), webhook.ServerOptions{})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	body := &endless{}
	body.left.Store(1 << 30)
	r, _ := http.NewRequest("POST", s.url+"/hooks/orders", body)
	r.Header.Set("Content-Type", "application/json")
	res, err := plainClient.Do(r)
	if err == nil {
		defer res.Body.Close()
		if res.StatusCode != 413 {
			t.Errorf("status %d", res.StatusCode)
		}
	} // else the connection was shut while more was being sent
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
		t.Errorf("it took %d MiB", took>>20)
	}
	if read := 1<<30 - body.left.Load(); read > 64<<20 {
		t.Errorf("%d MiB were read", read>>20)
	}
}

// raw sends bytes as they are and returns what comes back until the connection
// is shut.
func raw(t *testing.T, addr, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		return ""
	}
	b, err := io.ReadAll(c)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Errorf("the connection of %.60q stays open", text)
	}
	return string(b)
}

// TestSmuggling: what two readers could take for different requests is refused,
// or the last one of its connection.
func TestSmuggling(t *testing.T) {
	s := open(t, noneHook(), webhook.ServerOptions{IdleTimeout: 30 * time.Second, BodyTimeout: 300 * time.Millisecond})
	const line = "POST /hooks/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	const second = "POST /hooks/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n\"second\""
	for name, text := range map[string]string{
		"length and chunks":       line + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n" + second,
		"two lengths":             line + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n1" + second,
		"a length with a plus":    line + "Content-Length: +1\r\n\r\n1" + second,
		"a list of lengths":       line + "Content-Length: 1, 1\r\n\r\n1" + second,
		"a bare line end":         line + "Transfer-Encoding: chunked\r\n\r\n1\n1\r\n0\r\n\r\n" + second,
		"a chunk's lone CR":       line + "Transfer-Encoding: chunked\r\n\r\n1;a\rb\r\n1\r\n0\r\n\r\n" + second,
		"a space before a colon":  line + "Content-Length : 1\r\n\r\n1" + second,
		"a folded header":         line + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + second,
		"chunks by another name":  line + "Transfer-Encoding: xchunked\r\n\r\n1\r\n1\r\n0\r\n\r\n" + second,
		"chunks twice":            line + "Transfer-Encoding: chunked, chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n" + second,
		"a negative chunk":        line + "Transfer-Encoding: chunked\r\n\r\n-1\r\n1\r\n0\r\n\r\n" + second,
		"no chunk's end":          line + "Transfer-Encoding: chunked\r\n\r\n1\r\n1",
		"a body that is too long": line + "Content-Length: 1\r\n\r\n11 / HTTP/1.1\r\n\r\n",
		"a body that is short":    line + "Content-Length: 5\r\n\r\n1",
		"no host":                 "POST /hooks/orders HTTP/1.1\r\nContent-Length: 1\r\n\r\n1",
	} {
		before := len(s.shelf.bodies())
		got := raw(t, s.addr(), text)
		status := strings.Fields(got + " none none")[1]
		for _, b := range s.shelf.bodies()[before:] {
			if b != "1" {
				t.Errorf("%s: %q was stored", name, b)
			}
		}
		switch name {
		case "length and chunks", "a body that is too long": // the first is whole
			if status != "202" || strings.Contains(got, "second") {
				t.Errorf("%s: %.200q", name, got)
			}
		case "no chunk's end", "a body that is short":
			if status != "408" {
				t.Errorf("%s: %.200q", name, got)
			}
		default:
			if status != "400" && status != "501" {
				t.Errorf("%s: %.200q", name, got)
			}
		}
	}
}

func TestHeadersAreBounded(t *testing.T) {
	s := open(t, noneHook(), webhook.ServerOptions{})
	for n, want := range map[int]string{15 << 10: "202", 17 << 10: "431"} {
		got := raw(t, s.addr(), "POST /hooks/orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 1\r\nX-Signature: "+strings.Repeat("v1,AAAA ", n/8)+"\r\n\r\n1")
		if !strings.HasPrefix(got, "HTTP/1.1 "+want) {
			t.Errorf("%d bytes: %.100q", n, got)
		}
	}
}

func TestSlowSenders(t *testing.T) {
	s := open(t, noneHook(), webhook.ServerOptions{HeaderTimeout: 100 * time.Millisecond, BodyTimeout: 100 * time.Millisecond, IdleTimeout: 100 * time.Millisecond})
	if got := raw(t, s.addr(), "POST /hooks/orders HTTP/1.1\r\nHost: x\r\nX-A: "); strings.Contains(got, "202") {
		t.Errorf("half a header: %q", got)
	}
	if got := raw(t, s.addr(), "POST /hooks/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n1"); !strings.HasPrefix(got, "HTTP/1.1 408") || !strings.Contains(got, "Connection: close") {
		t.Errorf("half a body: %q", got)
	}
	if got := raw(t, s.addr(), "POST /hooks/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n1"); !strings.HasPrefix(got, "HTTP/1.1 202") {
		t.Errorf("idle: %q", got)
	}
	if n := len(s.shelf.bodies()); n != 1 {
		t.Errorf("%d events", n)
	}
}

// dial opens a connection and has it let in: what is behind it in the backlog
// is seen to only after it.
func dial(t *testing.T, addr string) *bufio.ReadWriter {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c))
}

// TestConnectionsAreBounded: as many as may are busy; one more is shut out. As
// many that only sit there keep nobody out.
func TestConnectionsAreBounded(t *testing.T) {
	for name, o := range map[string]webhook.ServerOptions{
		"of one address": {MaxConnsPer: 3},
		"of all":         {MaxConns: 3, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, noneHook(), o)
			for range 20 {
				dial(t, s.addr()) // silent
			}
			if got := s.send(t, asked{body: "1"}); got.status != 202 {
				t.Fatalf("beside silent ones: %+v", got)
			}
			var busy []*bufio.ReadWriter
			for tries := 0; len(busy) < 3; tries++ { // the connection from before may not have left yet
				c := dial(t, s.addr())
				fmt.Fprint(c, "POST /hooks/orders HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n")
				c.Flush()
				if line, err := c.ReadString('\n'); strings.Contains(line, " 100 ") {
					busy = append(busy, c)
				} else if tries > 1000 {
					t.Fatalf("%q, %v", line, err)
				}
			}
			if got, err := s.try(asked{body: "1"}); err == nil {
				t.Errorf("the fourth: %+v", got)
			}
			fmt.Fprint(busy[0], "1")
			busy[0].Flush()
			busy[0].ReadString('\n') // the blank line of 100
			if line, _ := busy[0].ReadString('\n'); !strings.Contains(line, " 202 ") {
				t.Errorf("the first: %q", line)
			}
		})
	}
}

// TestRoomForBodies: all bodies together are bounded, one alone fits.
func TestRoomForBodies(t *testing.T) {
	h := noneHook()
	s := open(t, h, webhook.ServerOptions{MaxBodies: 100_000})
	big := `"` + strings.Repeat("x", 300_000) + `"`
	if got := s.send(t, asked{body: big}); got.status != 202 {
		t.Fatalf("alone: %+v", got)
	}
	c := dial(t, s.addr())
	fmt.Fprintf(c, "POST /hooks/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(big), big[:200_000])
	c.Flush()
	for { // until the half of it is there
		if got := s.send(t, asked{body: "1"}); got.status == 429 {
			break
		}
	}
	fmt.Fprint(c, big[200_000:])
	c.Flush()
	if line, _ := c.ReadString('\n'); !strings.Contains(line, " 202 ") {
		t.Fatalf("%q", line)
	}
	if got := s.send(t, asked{body: "1"}); got.status != 202 {
		t.Errorf("after it: %+v", got)
	}
}
