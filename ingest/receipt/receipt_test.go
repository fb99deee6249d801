package receipt_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"ingestd/ingest"
	"ingestd/ingest/receipt"
)

func letters(ls ...ingest.Letter) iter.Seq2[ingest.Letter, error] {
	return func(yield func(ingest.Letter, error) bool) {
		for _, l := range ls {
			if !yield(l, nil) {
				return
			}
		}
	}
}

func write(t testing.TB, a *ingest.Arrival, private []string, ls ...ingest.Letter) (string, map[string]any) {
	t.Helper()
	var b bytes.Buffer
	if err := receipt.Write(&b, receipt.Arrival{Arrival: a, Private: private}, receipt.Rejects(t.Context(), letters(ls...), private)); err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(b.Bytes(), &v); err != nil {
		t.Fatalf("%v in\n%s", err, b.Bytes())
	}
	return b.String(), v
}

func TestWrite(t *testing.T) {
	at := time.Date(2026, 3, 5, 6, 7, 8, 0, time.UTC)
	a := &ingest.Arrival{
		ID: 7, Pipeline: "orders", State: ingest.Done, StartedAt: at, FinishedAt: at.Add(time.Second),
		Found: ingest.Found{Name: "a.csv", Size: 12, FoundAt: at}, SHA256: bytes.Repeat([]byte{0xab}, 32),
		Counts: ingest.Counts{Records: 9, Delivered: 4, Duplicate: 1, Filtered: 2, Dead: 2},
	}
	got, _ := write(
		t, a, nil,
		ingest.Letter{Pos: ingest.Position{Record: 2, Line: 3, Column: 5}, Stage: ingest.StageParse, Reason: `4 cells where the header has 2`},
		ingest.Letter{Pos: ingest.Position{Record: 4, Line: 5}, Stage: ingest.StageDeliver, Sink: "a", Status: 422, Answer: `{"detail":"no <such> customer"}`},
		ingest.Letter{Pos: ingest.Position{Record: 4, Line: 5}, Stage: ingest.StageDeliver, Sink: "b", Status: 400},
	)
	const want = `{
  "receipt": 1,
  "file": "a.csv",
  "arrival": "7",
  "pipeline": "orders",
  "state": "done",
  "message": "The file was read to its end: of 9 records, 4 delivered, 1 known already and not sent again, 2 left out as agreed, 2 rejected.",
  "size": 12,
  "sha256": "abababababababababababababababababababababababababababababababab",
  "received_at": "2026-03-05T06:07:08Z",
  "started_at": "2026-03-05T06:07:08Z",
  "finished_at": "2026-03-05T06:07:09Z",
  "records": 9,
  "delivered": 4,
  "duplicate": 1,
  "filtered": 2,
  "rejected": 2,
  "rejects": [
    {"record":2,"line":3,"column":5,"reason":"4 cells where the header has 2"},
    {"record":4,"line":5,"reason":"the receiving system refused this record (422): no <such> customer; the receiving system refused this record (400)"}
  ]
}
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := receipt.Write(new(bytes.Buffer), receipt.Arrival{Arrival: a}, func(yield func(receipt.Reject, error) bool) {
		yield(receipt.Reject{}, errors.New("the ledger is gone"))
	}); err == nil || !strings.Contains(err.Error(), "ledger is gone") {
		t.Errorf("a list that breaks off: %v", err)
	}
}

func TestMessages(t *testing.T) {
	for _, x := range []struct {
		state ingest.State
		n     ingest.Counts
		want  string
	}{
		{ingest.Done, ingest.Counts{Records: 1, Delivered: 1}, "The file was read to its end: 1 record, all delivered."},
		{ingest.Done, ingest.Counts{}, "The file holds no records."},
		{ingest.DuplicateState, ingest.Counts{}, "received and delivered before"},
		{ingest.Failed, ingest.Counts{}, "not accepted, and nothing of it was delivered"},
		{ingest.Failed, ingest.Counts{Records: 5, Filtered: 4, Dead: 1}, "not accepted: of 5 records nothing was delivered"},
		{ingest.Failed, ingest.Counts{Records: 5, Delivered: 5}, "could not be read to its end: of 5 records, 5 delivered."},
	} {
		if _, v := write(t, &ingest.Arrival{State: x.state, Counts: x.n}, nil); !strings.Contains(v["message"].(string), x.want) {
			t.Errorf("%s %+v: %q, want %q", x.state, x.n, v["message"], x.want)
		}
	}
}

// What a partner reads says what is wrong, and nothing of our own house.
func TestReasons(t *testing.T) {
	for name, x := range map[string]struct {
		l    ingest.Letter
		want string
	}{
		"parse": {ingest.Letter{Stage: ingest.StageParse, Reason: "text after the closing quote"}, "text after the closing quote"},
		"a page": {
			ingest.Letter{Stage: ingest.StageDeliver, Status: 403, Answer: "<html><body>nginx/1.2 at api.internal"},
			"the receiving system refused this record (403)",
		},
		"problem details": {
			ingest.Letter{Stage: ingest.StageDeliver, Status: 422, Answer: `{"title":"Unprocessable","error":{"message":"amount is negative"}}`},
			"the receiving system refused this record (422): amount is negative",
		},
		"an address": {
			ingest.Letter{Stage: ingest.StageDeliver, Status: 400, Answer: "see https://api.internal:8443/docs?key=1 or 10.0.0.7:80 on api.internal\nnow"},
			"the receiving system refused this record (400): see … or … on … now",
		},
		"uncertain": {
			ingest.Letter{Stage: ingest.StageDeliver, Status: 503, Reason: "given up: POST http://api.internal/x answered 503", Uncertain: true},
			"the receiving system did not confirm this record in time; it may or may not have it",
		},
		"a follower": {
			ingest.Letter{Stage: ingest.StageDeliver, Reason: "same key as line 7, which is dead: POST http://api.internal/x answered 422"},
			"same key as line 7, which was rejected",
		},
		"a file": {ingest.Letter{Stage: ingest.StageDeliver, Reason: "write /out/x: no space"}, "the receiving system refused this record"},
	} {
		x.l.Pos = ingest.Position{Record: 1, Line: 2}
		text, v := write(t, &ingest.Arrival{State: ingest.Done}, []string{"api.internal"}, x.l)
		if got := v["rejects"].([]any)[0].(map[string]any)["reason"]; got != x.want {
			t.Errorf("%s: %q, want %q", name, got, x.want)
		}
		if strings.Contains(text, "internal") || strings.Contains(text, "://") {
			t.Errorf("%s shows our house:\n%s", name, text)
		}
	}
	a := &ingest.Arrival{State: ingest.Failed, Error: `open arrival 3: open /srv/drops/.ingestd/work/1/a.csv: gone`}
	if _, v := write(t, a, nil); v["error"] != "open arrival 3: open …: gone" {
		t.Errorf("error %q", v["error"])
	}
}

func FuzzWrite(f *testing.F) {
	f.Add("a.csv", "bad", `{"message":"no"}`, []byte("1,2"))
	f.Add("\xff", "x://y", "\x00\u2028", []byte{0xff})
	f.Fuzz(func(t *testing.T, name, why, answer string, raw []byte) {
		a := &ingest.Arrival{State: ingest.Failed, Error: why, Found: ingest.Found{Name: name}}
		_, v := write(
			t, a, []string{"secret"},
			ingest.Letter{Pos: ingest.Position{Record: 1}, Stage: ingest.StageShape, Reason: why, Raw: raw},
			ingest.Letter{Pos: ingest.Position{Record: 2}, Stage: ingest.StageDeliver, Answer: answer, Raw: raw},
		)
		for _, r := range v["rejects"].([]any) {
			s := r.(map[string]any)["reason"].(string)
			if len(s) > 1100 || !utf8.ValidString(s) || strings.ContainsAny(s, "\n\r\x00\x1b\u2028") || strings.Contains(s, "http://") {
				t.Errorf("%q", s)
			}
		}
	})
}
