package xmlfmt

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"ingestd/ingest"
)

// A generator yields head, then body until about size bytes went out, then tail.
type generator struct {
	head, body, tail string
	size             int64
	now              string
	stage            int
}

func (g *generator) Read(b []byte) (n int, err error) {
	for n < len(b) {
		if g.now == "" {
			switch {
			case g.stage == 0:
				g.now, g.stage = g.head, 1
			case g.stage == 1 && g.size > 0:
				g.now = g.body
				g.size -= int64(len(g.body))
			case g.stage == 1:
				g.now, g.stage = g.tail, 2
			default:
				if n == 0 {
					return 0, io.EOF
				}
				return n, nil
			}
			continue
		}
		m := copy(b[n:], g.now)
		n += m
		g.now = g.now[m:]
	}
	return n, nil
}

// TestMemory reads a stream far larger than what may be kept of it.
func TestMemory(t *testing.T) {
	const body = "<Order id='1'>\n<Name>M&#xFC;ller</Name><Line><Qty>1</Qty></Line><Line/><Total>12.50</Total></Order>\n"
	for name, g := range map[string]*generator{
		"records": {head: "<Orders>", body: body, tail: "</Orders>"},
		"beside":  {head: "<Orders>" + body + body + "<Log>", body: "<e x='1'>some <!-- x -->text</e>\n", tail: "</Log></Orders>"},
		"spaces":  {head: "<Orders>" + body + body, body: strings.Repeat(" \n", 500), tail: "</Orders>"},
	} {
		t.Run(name, func(t *testing.T) {
			g.size = streamed / 3
			r, err := New(g, Options{})
			if err != nil {
				t.Fatal(err)
			}
			var c ingest.Chunk
			var records int
			for {
				err := r.Read(context.Background(), &c)
				if err == io.EOF {
					break
				}
				if err != nil || len(c.Faults) > 0 {
					t.Fatal(err, c.Faults)
				}
				records += len(c.Records)
				if len(c.Records) > ingest.ChunkRecords || cap(c.Buf) > 4*ingest.ChunkBytes || c.Size() > 8*ingest.ChunkBytes {
					t.Fatalf("%d records, %d bytes, %d in all", len(c.Records), cap(c.Buf), c.Size())
				}
			}
			if want := int(streamed / 3 / len(body)); name == "records" && records < want || records < 2 {
				t.Errorf("%d records, at least %d expected", records, want)
			}
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			if m.HeapAlloc > 16<<20 {
				t.Errorf("%d bytes are in use after the stream", m.HeapAlloc)
			}
		})
	}
}

// TestNames reads records with ever new names and namespaces: none may pile up.
func TestNames(t *testing.T) {
	const records = 60_000
	pr, pw := io.Pipe()
	go func() {
		_, err := io.WriteString(pw, "<a>")
		for i := 0; i < records && err == nil; i++ {
			_, err = fmt.Fprintf(pw, "<b><name%d xmlns='urn:namespace:%d'/><name%d a%d=''/></b>\n", i, i, i+1, i)
		}
		if err == nil {
			_, err = io.WriteString(pw, "</a>")
		}
		pw.CloseWithError(err)
	}()
	defer pr.Close()
	r, err := New(pr, Options{Record: "a/b"})
	if err != nil {
		t.Fatal(err)
	}
	var c ingest.Chunk
	for n := 0; ; n += len(c.Records) {
		if err := r.Read(context.Background(), &c); err == io.EOF {
			if n != records {
				t.Errorf("%d records", n)
			}
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for _, rec := range c.Records {
			if len(rec.Fields) != 2 {
				t.Fatalf("%s became %d fields", rec.Raw, len(rec.Fields))
			}
		}
		if names := &r.(*Reader).p.names; len(names.byWritten)+len(names.uris) > maxNames+10 || names.stored > maxNameBytes+1000 {
			t.Fatalf("%d names, %d namespaces, %d bytes are kept", len(names.byWritten), len(names.uris), names.stored)
		}
	}
}
