// Package receipt writes the report on one arrival for the partner who sent it:
// what was read, what became of it, and which records were rejected where and
// why, in words for somebody who knows the file and not this program.
//
// It promises: the report is JSON (RFC 8259) of one object, written as it goes,
// so that memory does not follow the number of rejected records; it names no
// address, path or setting of ours; of a target's answer it holds one line, cut
// short, without addresses.
package receipt

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"

	"ingestd/ingest"
)

// Version is the number of the report's form, its "receipt".
const Version = 1

// An Arrival is what a report says of one arrival.
type Arrival struct {
	*ingest.Arrival
	RejectedFile string // the name of the file that holds the rejected records; "" = there is none
	// Private are words that must not show: hosts of targets, paths of ours.
	Private []string
}

// head is the report without its list of rejected records.
type head struct {
	Receipt      int    `json:"receipt"`
	File         string `json:"file"`
	Arrival      string `json:"arrival"`
	AgainOf      string `json:"again_of,omitempty"`
	Pipeline     string `json:"pipeline"`
	State        string `json:"state"`
	Message      string `json:"message"`
	Error        string `json:"error,omitempty"`
	Size         int64  `json:"size"`
	SHA256       string `json:"sha256"`
	ReceivedAt   string `json:"received_at"`
	StartedAt    string `json:"started_at,omitempty"`
	FinishedAt   string `json:"finished_at"`
	Records      int64  `json:"records"`
	Delivered    int64  `json:"delivered"`
	Duplicate    int64  `json:"duplicate"`
	Filtered     int64  `json:"filtered"`
	Rejected     int64  `json:"rejected"`
	RejectedFile string `json:"rejected_file,omitempty"`
}

// A Reject is one rejected record as a partner sees it.
type Reject struct {
	Record int64  `json:"record"`
	Line   int64  `json:"line"`
	Column int    `json:"column,omitempty"`
	Reason string `json:"reason"`
	Raw    []byte `json:"-"` // as it stood in the file, decoded
}

// Write writes the report. rejects are read once, in the order of the file.
func Write(w io.Writer, a Arrival, rejects iter.Seq2[Reject, error]) error {
	n := a.Counts
	h := head{
		Receipt: Version, File: text(a.Name), Arrival: strconv.FormatInt(a.ID, 10), Pipeline: a.Pipeline, State: string(a.State),
		Message: message(a.Arrival), Error: trouble(a.Error, a.Private), Size: a.Size, SHA256: hex.EncodeToString(a.SHA256),
		ReceivedAt: when(a.FoundAt), StartedAt: when(a.StartedAt), FinishedAt: when(a.FinishedAt),
		Records: n.Records, Delivered: n.Delivered, Duplicate: n.Duplicate, Filtered: n.Filtered, Rejected: n.Dead,
		RejectedFile: text(a.RejectedFile),
	}
	if a.Replay != nil {
		h.AgainOf = strconv.FormatInt(a.Replay.Of, 10)
	}
	b, err := marshal(h, "  ")
	if err != nil {
		return fmt.Errorf("write a receipt: %w", err)
	}
	out := bufio.NewWriter(w)
	out.Write(b[:len(b)-len("\n}")])
	out.WriteString(",\n  \"rejects\": [")
	sep := "\n    "
	for r, err := range rejects {
		if err != nil {
			return fmt.Errorf("write a receipt: %w", err)
		}
		b, err := marshal(r, "")
		if err != nil {
			return fmt.Errorf("write a receipt: %w", err)
		}
		out.WriteString(sep)
		if _, err := out.Write(b); err != nil {
			return err
		}
		sep = ",\n    "
	}
	if sep[0] == ',' {
		out.WriteString("\n  ")
	}
	out.WriteString("]\n}\n")
	return out.Flush()
}

// marshal is JSON in which < and & stand as they are.
func marshal(v any, indent string) ([]byte, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	err := enc.Encode(v)
	return []byte(strings.TrimSuffix(b.String(), "\n")), err
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// message says in a sentence what became of an arrival.
func message(a *ingest.Arrival) string {
	n := a.Counts
	switch a.State {
	case ingest.DuplicateState:
		return "This file was received and delivered before; nothing of it was sent again."
	case ingest.Failed:
		if n.Records == 0 {
			return "The file was not accepted, and nothing of it was delivered."
		}
		if n.Delivered == 0 {
			return "The file was not accepted: of " + some(n.Records) + " nothing was delivered."
		}
		return "The file could not be read to its end: of " + some(n.Records) + ", " + outcomes(n) + "."
	}
	if n.Records == 0 {
		return "The file holds no records."
	}
	if n.Delivered == n.Records {
		return "The file was read to its end: " + some(n.Records) + ", all delivered."
	}
	return "The file was read to its end: of " + some(n.Records) + ", " + outcomes(n) + "."
}

func outcomes(n ingest.Counts) string {
	var parts []string
	for _, x := range []struct {
		n    int64
		what string
	}{
		{n.Delivered, "delivered"}, {n.Duplicate, "known already and not sent again"}, {n.Filtered, "left out as agreed"}, {n.Dead, "rejected"},
	} {
		if x.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", x.n, x.what))
		}
	}
	return strings.Join(parts, ", ")
}

func some(n int64) string {
	if n == 1 {
		return "1 record"
	}
	return strconv.FormatInt(n, 10) + " records"
}

// Rejects turns an arrival's dead letters, in the order of its records, into
// what a partner sees: one for each record, however many targets refused it.
func Rejects(ctx context.Context, letters iter.Seq2[ingest.Letter, error], private []string) iter.Seq2[Reject, error] {
	return func(yield func(Reject, error) bool) {
		var cur Reject
		for l, err := range letters {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(Reject{}, err)
				return
			}
			if l.Pos.Record == cur.Record && cur.Record > 0 {
				if why := reason(&l, private); len(cur.Reason)+len(why) < maxReason && !strings.Contains(cur.Reason, why) {
					cur.Reason += "; " + why
				}
				continue
			}
			if cur.Record > 0 && !yield(cur, nil) {
				return
			}
			cur = Reject{Record: l.Pos.Record, Line: l.Pos.Line, Column: l.Pos.Column, Reason: reason(&l, private), Raw: l.Raw}
		}
		if cur.Record > 0 {
			yield(cur, nil)
		}
	}
}
