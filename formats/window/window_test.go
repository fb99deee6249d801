package window_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"ingestd/formats/window"
	"ingestd/ingest"
)

// TestWindow reads a text line by line through windows of many sizes: each
// line comes out whole, with its place, however the stream and the chunks cut.
func TestWindow(t *testing.T) {
	text := strings.Repeat("first\n\na rather longer line than the others\nx\n", 7) + "the end"
	lines := strings.Split(text, "\n")
	for block := 1; block < 60; block++ {
		w := window.Window{Src: iotest.OneByteReader(strings.NewReader(text)), Block: block}
		chunk := &ingest.Chunk{}
		offset := int64(0)
		for n, want := range lines {
			for bytes.IndexByte(w.Bytes()[w.Pos:], '\n') < 0 && w.Err == nil {
				w.Fill()
			}
			rest := w.Bytes()[w.Pos:]
			end := bytes.IndexByte(rest, '\n')
			if end < 0 {
				end = len(rest)
			}
			if got := string(rest[:end]); got != want {
				t.Fatalf("block %d: line %d is %q, want %q", block, n+1, got, want)
			}
			if got := w.Base + int64(w.Pos); got != offset {
				t.Fatalf("block %d: line %d is at %d, want %d", block, n+1, got, offset)
			}
			if line, col := w.Place(w.Pos + end); line != int64(n+1) || col != end+1 {
				t.Fatalf("block %d: line %d ends at %d:%d, want %d:%d", block, n+1, line, col, n+1, end+1)
			}
			w.Pos += min(end+1, len(rest))
			offset += int64(end) + 1
			if n%3 == 0 {
				w.HandOver(chunk)
				if !bytes.Contains(chunk.Buf, []byte(want)) {
					t.Fatalf("block %d: the chunk took %q along, want %q in it", block, chunk.Buf, want)
				}
			}
		}
		if w.Err != io.EOF || w.Pos != w.End {
			t.Fatalf("block %d: %v with %d bytes left", block, w.Err, w.End-w.Pos)
		}
	}
}

// stuck never gives a byte and never says why.
type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestWindowThatNothingFills(t *testing.T) {
	w := window.Window{Src: stuck{}, Block: 10}
	if w.Fill(); !errors.Is(w.Err, io.ErrNoProgress) {
		t.Fatalf("error %v, want %v", w.Err, io.ErrNoProgress)
	}
}
