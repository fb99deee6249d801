package formattest

import (
	"context"
	"io"
	"testing"

	"ingestd/ingest"
)

// TestSame holds the comparison to what the package comment says: it must be
// able to fail.
func TestSame(t *testing.T) {
	for _, tt := range []struct {
		got, want string
		same      bool
	}{
		{`{"record":{"a":1.10},"line":2}`, `{ "record": {"a": 1.10}, "line": 2 }`, true},
		{`{"record":{"a":1.10},"line":2}`, `{"record":{"a":1.1},"line":2}`, false},
		{`{"record":{"a":1,"b":2},"line":2}`, `{"record":{"b":2,"a":1},"line":2}`, false},
		{`{"record":{"a":1},"line":2}`, `{"record":{"a":1},"line":3}`, false},
		{`{"record":{"a":1},"line":2}`, `{"reject":{"line":2,"reason":"x"}}`, false},
		{`{"reject":{"line":2,"column":3,"reason":"x","raw":"y"}}`, `{"reject":{"line":2,"reason":"x"}}`, true},
		{`{"reject":{"line":2,"column":3,"reason":"x","raw":"y"}}`, `{"reject":{"line":2,"column":4,"reason":"x"}}`, false},
		{`{"reject":{"line":2,"column":3,"reason":"x","raw":"y"}}`, `{"reject":{"line":2,"reason":"x","raw":"z"}}`, false},
		{`{"reject":{"line":2,"column":0,"reason":"x","raw_base64":"/w=="}}`, `{"reject":{"line":2,"reason":"x","raw_base64":"/w=="}}`, true},
		{`{"error":"x"}`, `{"error":"x"}`, true},
		{`{"error":"x"}`, `{"error":"y"}`, false},
		{`{"error":"x"}`, `{"error":"x","typo":1}`, false},
	} {
		if err := same(tt.got, tt.want); (err == nil) != tt.same {
			t.Errorf("%s against %s: %v", tt.got, tt.want, err)
		}
	}
}

// script is a reader that gives what it is told to.
type script struct {
	ingest.Reader
	steps []func(c *ingest.Chunk) error
}

func (s *script) Read(_ context.Context, c *ingest.Chunk) error {
	c.Reset()
	if len(s.steps) == 0 {
		return io.EOF
	}
	step := s.steps[0]
	s.steps = s.steps[1:]
	return step(c)
}

func (s *script) Details() ingest.Details { return ingest.Details{Format: "script"} }

func TestLines(t *testing.T) {
	r := &script{steps: []func(*ingest.Chunk) error{
		func(c *ingest.Chunk) error {
			c.Faults = append(c.Faults, ingest.Fault{Pos: ingest.Position{Record: 1, Line: 1, Column: 2}, Stage: ingest.StageParse, Reason: "<bad>", Raw: []byte("\xFF")})
			c.Records = append(c.Records, ingest.Record{Pos: ingest.Position{Record: 2, Line: 2}, Fields: []ingest.Field{{Name: "a", Kind: ingest.Number, Raw: []byte("1.10")}}})
			return nil
		},
		func(c *ingest.Chunk) error {
			return &ingest.ReadError{Format: "script", Reason: "cut short"}
		},
	}}
	lines, d := Lines(t, r)
	want := []string{
		`{"reject":{"line":1,"column":2,"reason":"<bad>","raw_base64":"/w=="}}`,
		`{"record":{"a":1.10},"line":2}`,
		`{"error":"script: cut short"}`,
	}
	if len(lines) != len(want) || d.Format != "script" {
		t.Fatalf("got %q, %+v", lines, d)
	}
	for i := range want {
		if lines[i] != want[i] {
			t.Errorf("line %d: %s, want %s", i+1, lines[i], want[i])
		}
	}
}
