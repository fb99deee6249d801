package sinktest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// ServeHTTP does to a request what the script says.
func (t *Target) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_") {
		t.control(w, r)
		return
	}
	leave := sync.OnceFunc(t.count.enter())
	defer leave()
	w = parting{w, leave}
	s, step := t.next()
	req := request{key: r.Header.Get("Idempotency-Key"), pipeline: r.Header.Get("X-Ingestd-Pipeline")}
	if t.tooEarly(req.pipeline) {
		t.count.early.Add(1)
	}
	if step.Delay > 0 {
		pause := time.NewTimer(step.delay())
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-r.Context().Done():
			return
		}
	}
	if step.Unread {
		t.strike(w, r, s, step)
		return
	}
	buf, _ := t.bufs.Get().(*bytes.Buffer)
	if buf == nil {
		buf = new(bytes.Buffer)
	}
	defer func() {
		buf.Reset()
		t.bufs.Put(buf)
	}()
	body, err := readBody(buf, r)
	if err != nil {
		t.count.tell("unreadable")
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	t.count.bytes.Add(int64(len(body)))
	req.hash, req.size = xxhash.Sum64(body), len(body)
	if err := t.take(w, r, s, step, req, body); err != nil {
		// The journal is what everything is judged by.
		panic(fmt.Sprintf("sinktest: journal: %v", err))
	}
}

// A parting writer ends a request when its answer begins: its sender may send the
// next one before this one's handler is done.
type parting struct {
	http.ResponseWriter
	leave func()
}

func (p parting) WriteHeader(status int) {
	p.leave()
	p.ResponseWriter.WriteHeader(status)
}

func (p parting) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	p.leave()
	return http.NewResponseController(p.ResponseWriter).Hijack()
}

// take decides about a request whose body was read.
func (t *Target) take(w http.ResponseWriter, r *http.Request, s *compiled, step Step, req request, body []byte) error {
	known, err := t.book.note(req)
	if err != nil {
		return err
	}
	if known {
		t.count.repeated.Add(1)
		if step.Do == Accept {
			status, text := s.Known, s.AcceptBody
			if s.Records != nil {
				ids, err := t.find.find(nil, body)
				if err != nil {
					return err
				}
				status, text = s.Records.Answer, t.book.recall(req.key, ids)
			}
			t.answer(w, status, text, "")
			return nil
		}
		t.strike(w, r, s, step)
		return nil
	}
	if !step.takes() {
		if err := t.book.refuse(req); err != nil {
			return err
		}
		t.strike(w, r, s, step)
		return nil
	}
	ids, err := t.find.find(make([]byte, 0, len(body)/8), body)
	if err != nil {
		t.count.refused.Add(1)
		t.answer(w, http.StatusBadRequest, `{"error":"the body is no JSON"}`, "")
		return t.book.refuse(req)
	}
	if status, why := s.refusal(ids, len(body)); status != 0 {
		t.count.refused.Add(1)
		t.answer(w, status, why, "")
		return t.book.refuse(req)
	}
	var kept []byte
	if t.o.Exact {
		kept = bytes.Clone(body)
	}
	if s.Records != nil {
		return t.takeEach(w, r, s, step, req, ids, kept)
	}
	taken, err := t.book.accept(req, ids, kept)
	if err != nil {
		return err
	}
	if taken {
		t.count.accepted.Add(1)
		t.count.ids.Add(int64(bytes.Count(ids, []byte{'\n'})))
	} else {
		t.count.repeated.Add(1)
	}
	if step.Do == Accept {
		t.answer(w, s.AcceptStatus, s.AcceptBody, "")
		return nil
	}
	t.strike(w, r, s, step)
	return nil
}

// refusal is the answer to a request that is wrong in itself; status 0: it is
// not.
func (s *compiled) refusal(ids []byte, size int) (status int, body string) {
	if s.MaxBytes > 0 && size > s.MaxBytes {
		return http.StatusRequestEntityTooLarge, `{"error":"too large"}`
	}
	if len(s.refuse) == 0 {
		return 0, ""
	}
	for line := range bytes.Lines(ids) {
		if id := bytes.TrimSuffix(line, []byte{'\n'}); s.refuse[string(id)] {
			return s.RefuseStatus, fmt.Sprintf(`{"error":"id %s is refused"}`, id)
		}
	}
	return 0, ""
}

// strike answers as step says.
func (t *Target) strike(w http.ResponseWriter, r *http.Request, s *compiled, step Step) {
	if step.Do != Status {
		t.count.tell(step.Do)
	}
	switch step.Do {
	case Status:
		if step.RetryAfter != "" {
			w.Header().Set("Retry-After", step.RetryAfter)
			if d := pause(step.RetryAfter); d > 0 {
				t.asked(r.Header.Get("X-Ingestd-Pipeline"), d)
			}
		}
		t.answer(w, step.Status, step.Body, step.Location)
	case Hang:
		t.hang(r.Context())
		t.answer(w, http.StatusServiceUnavailable, "", "")
	case Reset:
		cut(w, "", true)
	case Half:
		cut(w, "HTTP/1.1 2", false)
	case Cut:
		cut(w, fmt.Sprintf("HTTP/1.1 %d OK\r\nContent-Length: 100\r\n\r\n{\"ok\":", s.AcceptStatus), false)
	case Endless:
		w.WriteHeader(s.AcceptStatus)
		for chunk := bytes.Repeat([]byte("x"), 32<<10); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	default:
		t.answer(w, s.AcceptStatus, s.AcceptBody, "")
	}
}

func (t *Target) answer(w http.ResponseWriter, status int, body, location string) {
	t.count.tell("status " + strconv.Itoa(status))
	h := w.Header()
	if location != "" {
		h["Location"] = []string{location}
	}
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	io.WriteString(w, body)
}

// cut writes text to the bare connection and closes it, hard where reset is set.
func cut(w http.ResponseWriter, text string, reset bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2: the stream is reset
	}
	io.WriteString(conn, text)
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// readBody reads and unpacks a body.
func readBody(buf *bytes.Buffer, r *http.Request) ([]byte, error) {
	var from io.Reader = r.Body
	switch e := r.Header.Get("Content-Encoding"); e {
	case "":
		if n := r.ContentLength; n > 0 && n < 64<<20 {
			buf.Grow(int(n) + bytes.MinRead)
		}
	case "gzip":
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, err
		}
		from = z
	case "zstd":
		z, err := zstd.NewReader(r.Body, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		from = z
	default:
		return nil, fmt.Errorf("Content-Encoding %q is unknown here", e)
	}
	if _, err := buf.ReadFrom(from); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// pause is a Retry-After in time; 0 where it says nothing.
func pause(v string) time.Duration {
	if n, err := strconv.Atoi(v); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return time.Until(at)
	}
	return 0
}
