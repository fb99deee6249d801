package rawfmt

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"ingestd/formats/formattest"
	"ingestd/ingest"
)

func TestRead(t *testing.T) {
	for _, tt := range []struct {
		name, content string
		max           int
		want          string
	}{
		{"a.edi", "UNB+UNOA:1'\n", 0, `{"record":{"name":"a.edi","size":12,"content":"UNB+UNOA:1'\n"},"line":1}`},
		{"ä\n\x1b", "ü\x00\"", 0, `{"record":{"name":"ä\n\u001b","size":4,"content":"ü\u0000\""},"line":1}`},
		{"a\xFFb", "\xFF\x00", 0, `{"record":{"name":"a\\xFFb","size":2,"content":"/wA=","encoding":"base64"},"line":1}`},
		{"a", "", 0, `{"record":{"name":"a","size":0,"content":""},"line":1}`},
		{"a", "12345", 5, `{"record":{"name":"a","size":5,"content":"12345"},"line":1}`},
		{"a", "12345", 4, `{"record":{"name":"a","size":5},"line":1}`},
		{"a", "\xEF\xBB\xBFx", 0, "{\"record\":{\"name\":\"a\",\"size\":4,\"content\":\"\uFEFFx\"},\"line\":1}"},
	} {
		for _, src := range []io.Reader{strings.NewReader(tt.content), iotest.OneByteReader(strings.NewReader(tt.content))} {
			r, err := New(src, Options{Name: tt.name, Size: int64(len(tt.content)), MaxRecord: tt.max})
			if err != nil {
				t.Fatal(err)
			}
			lines, _ := formattest.Lines(t, r)
			if len(lines) != 1 || lines[0] != tt.want {
				t.Errorf("got %s, want %s", lines, tt.want)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestContentIsRaw: the record's bytes are the file's, also where the content
// is shown in base64.
func TestContentIsRaw(t *testing.T) {
	r, err := New(strings.NewReader("\xFF\x01"), Options{Size: 2})
	if err != nil {
		t.Fatal(err)
	}
	var c ingest.Chunk
	if err := r.Read(context.Background(), &c); err != nil || string(c.Records[0].Raw) != "\xFF\x01" {
		t.Errorf("%d records, error %v", len(c.Records), err)
	}
}

func TestSizeLies(t *testing.T) {
	for _, size := range []int64{0, 4, 6, 5 << 20} {
		r, err := New(strings.NewReader("12345"), Options{Size: size})
		if err != nil {
			t.Fatal(err)
		}
		var (
			c  ingest.Chunk
			re *ingest.ReadError
		)
		if err := r.Read(context.Background(), &c); !errors.As(err, &re) || len(c.Records) > 0 {
			t.Errorf("size %d: error %v, %d records", size, err, len(c.Records))
		}
	}
	if _, err := New(nil, Options{Size: -1}); err == nil {
		t.Error("a negative size is taken")
	}
}

func TestBrokenSource(t *testing.T) {
	broken := errors.New("disk on fire")
	r, err := New(iotest.ErrReader(broken), Options{Size: 5})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Read(context.Background(), new(ingest.Chunk)); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if r, err = New(strings.NewReader(""), Options{}); err != nil {
		t.Fatal(err)
	}
	if err := r.Read(ctx, new(ingest.Chunk)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Read(context.Background(), new(ingest.Chunk)); err == nil || err == io.EOF {
		t.Errorf("read after close: %v", err)
	}
}
