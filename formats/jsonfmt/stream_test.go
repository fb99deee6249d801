package jsonfmt

import (
	"context"
	"io"
	"runtime"
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
	const body = `{"id":"A-1","name":"M\u00fcller","lines":[ {"qty": 1}, {"qty": 2} ],"total":12.50}`
	for name, g := range map[string]*generator{
		"array":  {head: "[" + body, body: ",\n" + body, tail: "]"},
		"ndjson": {body: body + "\n"},
		"path":   {head: `{"big":[1`, body: ",[{\"a\":\"b\"}]\n", tail: `],"data":[` + body + `]}`},
	} {
		t.Run(name, func(t *testing.T) {
			g.size = streamed / 3
			o := Options{}
			if name == "path" {
				o.Records = "data"
			}
			r, err := New(g, o)
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
			if want := 1 + int(streamed/3/len(body)/2); name != "path" && records < want {
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

// TestNames reads records with ever new names: none may pile up.
func TestNames(t *testing.T) {
	pr, pw := io.Pipe()
	go func() {
		name := []byte("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
		for range 200_000 {
			for i := range name {
				if name[i]++; name[i] <= 'z' {
					break
				}
				name[i] = 'a'
			}
			if _, err := pw.Write([]byte(`{"` + string(name) + `":1}` + "\n")); err != nil {
				return
			}
		}
		pw.Close()
	}()
	defer pr.Close()
	r, err := New(pr, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var c ingest.Chunk
	for n := 0; ; n += len(c.Records) {
		if err := r.Read(context.Background(), &c); err == io.EOF {
			if n != 200_000 {
				t.Errorf("%d records", n)
			}
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if p := &r.(*Reader).p; len(p.labels) > maxLabels || p.stored > maxLabelBytes+maxLabelLength {
			t.Fatalf("%d names of %d bytes are kept", len(p.labels), p.stored)
		}
	}
}
