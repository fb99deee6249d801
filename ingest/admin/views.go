package admin

import (
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"ingestd/ingest"
)

// Arrival is one line of `arrivals --json`.
type Arrival struct {
	ID         string     `json:"id"`                 // of an event, its bundle's number and its place in it: 4711.3
	EventID    string     `json:"event_id,omitempty"` // what an event's sender calls it
	Pipeline   string     `json:"pipeline"`
	Name       string     `json:"name"`
	NameBase64 string     `json:"name_base64,omitempty"` // where the name's bytes are no UTF-8
	Source     string     `json:"source"`
	State      string     `json:"state"`
	Size       int64      `json:"size"`
	SHA256     string     `json:"sha256"` // "" until known
	FoundAt    *time.Time `json:"found_at"`
	StartedAt  *time.Time `json:"started_at"`
	FinishedAt *time.Time `json:"finished_at"`
	Records    int64      `json:"records"`
	Delivered  int64      `json:"delivered"`
	Had        int64      `json:"had"` // part of delivered: the target had it already
	Duplicate  int64      `json:"duplicate"`
	Filtered   int64      `json:"filtered"`
	Dead       int64      `json:"dead"`
	Error      string     `json:"error"`
	Origin     string     `json:"origin"`
	Replays    string     `json:"replays,omitempty"` // the arrival whose content this takes up again
	PutAway    string     `json:"put_away,omitempty"`
}

// ArrivalDetail is the object of `show --json`.
type ArrivalDetail struct {
	Arrival
	First    int64                  `json:"first,omitempty"` // of an event: its records in the bundle
	Last     int64                  `json:"last,omitempty"`
	Batches  []Batch                `json:"batches"`
	Timeline []ingest.TimelineEvent `json:"timeline"`
	Receipt  *Receipt               `json:"receipt,omitempty"`
	Format   string                 `json:"format,omitempty"` // how it was read, once it ended
	Encoding string                 `json:"encoding,omitempty"`
	Notes    []Note                 `json:"notes,omitempty"` // what was found on it, and why
}

// Note is one thing that was found out about an arrival, and why.
type Note struct {
	What  string `json:"what"`
	Value string `json:"value"`
	Why   string `json:"why"`
}

// Receipt is the report on an arrival for its partner.
type Receipt struct {
	Name    string `json:"name"`            // of its file, relative to receipt.dir; "" until it was chosen
	Written int64  `json:"written"`         // how often; 0: not yet
	Due     bool   `json:"due"`             // it is to be written (again)
	Error   string `json:"error,omitempty"` // why it could not be
}

// Batch is one request.
type Batch struct {
	Number         int        `json:"number"`
	First          int64      `json:"first"`
	Last           int64      `json:"last"`
	State          string     `json:"state"`
	IdempotencyKey string     `json:"idempotency_key"`
	Attempts       int        `json:"attempts"`
	Status         int        `json:"status"`
	Sink           string     `json:"sink"`
	Records        int        `json:"records"`
	Answer         string     `json:"answer,omitempty"`
	DueAt          *time.Time `json:"due_at,omitempty"`

	// State "mixed": what became of its records.
	Outcomes *Outcomes `json:"outcomes,omitempty"`
}

// Outcomes are how many records of a batch that was answered record by record
// were delivered, are dead, and went on in another batch.
type Outcomes struct {
	Delivered int64 `json:"delivered"`
	Dead      int64 `json:"dead"`
	Again     int64 `json:"again"`
}

// Letter is one line of `dead list --json`.
type Letter struct {
	ID         string     `json:"id"`
	Arrival    string     `json:"arrival"`
	Pipeline   string     `json:"pipeline"`
	Name       string     `json:"name"`
	NameBase64 string     `json:"name_base64,omitempty"`
	Record     int64      `json:"record"`
	Line       int64      `json:"line"`
	Column     int        `json:"column"`
	Stage      string     `json:"stage"`
	Sink       string     `json:"sink"`
	Reason     string     `json:"reason"`
	Status     int        `json:"status"`
	Answer     string     `json:"answer"`
	Raw        *string    `json:"raw,omitempty"`
	RawBase64  *string    `json:"raw_base64,omitempty"`
	Uncertain  bool       `json:"uncertain"`
	Replaying  bool       `json:"replaying"` // it is being sent again
	At         *time.Time `json:"at"`
}

// Bytes is the record as it stood.
func (l *Letter) Bytes() []byte {
	switch {
	case l.Raw != nil:
		return []byte(*l.Raw)
	case l.RawBase64 != nil:
		b, _ := base64.StdEncoding.DecodeString(*l.RawBase64)
		return b
	}
	return nil
}

// Audit is one line of `audit --json`.
type Audit struct {
	Pipeline  string `json:"pipeline"`
	Arrival   string `json:"arrival"`
	State     string `json:"state"`
	Balanced  bool   `json:"balanced"`
	Records   int64  `json:"records"`
	Delivered int64  `json:"delivered"`
	Duplicate int64  `json:"duplicate"`
	Filtered  int64  `json:"filtered"`
	Dead      int64  `json:"dead"`
	Why       string `json:"why,omitempty"` // where it fails
}

// Status is the object of `status --json`.
type Status struct {
	Pipelines []PipelineStatus `json:"pipelines"`
	Sinks     []SinkStatus     `json:"sinks"`
	Running   bool             `json:"running"` // a daemon answers, not the command itself
	Version   string           `json:"version"`
	PID       int              `json:"pid"`
	StartedAt *time.Time       `json:"started_at"`
	StateDir  string           `json:"state_dir"`
	Alerts    []OpenAlert      `json:"alerts"`             // what needs a person now, the worst first
	DiskLow   string           `json:"disk_low,omitempty"` // the directory where less than min_free is left
	// SFTPServer is absent where no drop server listens.
	SFTPServer *SFTPServerStatus `json:"sftp_server,omitempty"`
}

// SFTPServerStatus is the built-in drop server.
type SFTPServerStatus struct {
	Listen      string   `json:"listen"`
	HostKeys    []string `json:"host_keys"` // type and SHA-256 fingerprint, as clients show them
	Connections int      `json:"connections"`
}

// PipelineStatus is one pipeline. State is "running", "idle", "paused",
// "error" (the source cannot do its work) or "stopped" (no daemon runs).
type PipelineStatus struct {
	Name        string     `json:"name"`
	State       string     `json:"state"`
	Since       *time.Time `json:"since"`
	Waiting     int64      `json:"waiting"`
	LastArrival *time.Time `json:"last_arrival"`
	LastName    string     `json:"last_name,omitempty"`  // of the last arrival
	LastState   string     `json:"last_state,omitempty"` // how it stands
	Error       string     `json:"error"`
	Rate        float64    `json:"rate"` // records a second, of the last minute
	Held        int64      `json:"held"`
	Dead        int64      `json:"dead"`               // dead letters
	Blocked     bool       `json:"blocked"`            // a sink keeps its records from moving
	Waits       string     `json:"waits,omitempty"`    // why what waits does not move; "" where it does
	Receipts    int64      `json:"receipts,omitempty"` // that could not be written and are tried again
	ExpectedBy  *time.Time `json:"expected_by"`        // the next time by which something should have come; null where nothing is expected
}

// SinkStatus is one sink. State is "ok", "waiting" (for the hours of its
// `deliver`), "paused" (by a person), "retrying" (it does not take records for
// now) or "stopped" (a person has to mend it).
type SinkStatus struct {
	Name  string     `json:"name"`
	State string     `json:"state"` // unknown where nobody delivers
	Since *time.Time `json:"since"`
	Next  *time.Time `json:"next_try"` // null where none is due, or a person must say so
	Error string     `json:"error"`
}

// OpenAlert is something that needs a person now.
type OpenAlert struct {
	Kind     string     `json:"kind"`
	Severity string     `json:"severity"` // info, warning or critical
	Pipeline string     `json:"pipeline"` // "" where it concerns all
	Arrival  string     `json:"arrival"`  // "" where there is none
	Name     string     `json:"name"`
	Message  string     `json:"message"`
	Action   string     `json:"action"`
	Since    *time.Time `json:"since"`
}

// ViewAlert is an open alert as people see it.
func ViewAlert(a *ingest.OpenAlert) OpenAlert {
	v := OpenAlert{
		Kind: a.Kind, Severity: a.Severity, Pipeline: a.Pipeline, Name: text(a.Name),
		Message: a.Message, Action: a.Action, Since: when(a.Since),
	}
	if a.Arrival != 0 {
		v.Arrival = id(a.Arrival)
	}
	return v
}

// AlertTest is what a sink that tells made of a test.
type AlertTest struct {
	Sink   string `json:"sink"`
	Status int    `json:"status"` // HTTP status; 0 where there is none
	Answer string `json:"answer"`
	Error  string `json:"error"` // "" = it was told
}

// Hook is where the senders of one pipeline call. Its URL is a secret where its
// path was made.
type Hook struct {
	Pipeline string   `json:"pipeline"`
	URL      string   `json:"url"`
	Methods  []string `json:"methods"`
	Mode     string   `json:"mode"`
	Scheme   string   `json:"scheme"`
}

// LedgerStats are sizes.
type LedgerStats struct {
	Path     string `json:"path"`
	Bytes    int64  `json:"bytes"` // with its write-ahead log
	Arrivals int64  `json:"arrivals"`
	Batches  int64  `json:"batches"`
	Letters  int64  `json:"dead"`
	Keys     int64  `json:"keys"`
}

// PruneResult says what retention took.
type PruneResult struct {
	Files    int64 `json:"files"`
	Arrivals int64 `json:"arrivals"`
	Letters  int64 `json:"dead"`
	Events   int64 `json:"events"`
	Keys     int64 `json:"keys"`
}

// ViewArrival is an arrival as people see it.
func ViewArrival(a *ingest.Arrival) Arrival {
	v := Arrival{
		ID: ingest.Ref{Arrival: a.ID, Event: a.Event}.String(), EventID: text(a.EventID), Pipeline: a.Pipeline, Source: a.Source, State: string(a.State),
		Size: a.Size, SHA256: hex.EncodeToString(a.SHA256),
		FoundAt: when(a.FoundAt), StartedAt: when(a.StartedAt), FinishedAt: when(a.FinishedAt),
		Records: a.Counts.Records, Delivered: a.Counts.Delivered, Had: a.Counts.Had,
		Duplicate: a.Counts.Duplicate, Filtered: a.Counts.Filtered, Dead: a.Counts.Dead,
		Error: a.Error, Origin: text(a.Origin),
	}
	v.Name, v.NameBase64 = name(a.Name)
	if a.Replay != nil {
		v.Replays = id(a.Replay.Of)
	}
	if a.PutAway {
		v.PutAway = a.Away.Action
		if a.Away.To != "" {
			v.PutAway = text(a.Away.To)
		}
	}
	return v
}

func viewDetail(d *ingest.ArrivalDetail) *ArrivalDetail {
	v := &ArrivalDetail{Arrival: ViewArrival(&d.Arrival), Batches: make([]Batch, len(d.Batches)), Timeline: d.Timeline, First: d.First, Last: d.Last}
	for i, b := range d.Batches {
		v.Batches[i] = Batch{
			Number: b.Number, First: b.First, Last: b.Last, State: string(b.State),
			IdempotencyKey: b.IdempotencyKey, Attempts: b.Attempts, Status: b.Status,
			Sink: b.Sink, Records: b.Records, Answer: text(b.Answer), DueAt: when(b.DueAt),
		}
		if b.State == ingest.BatchMixed {
			v.Batches[i].Outcomes = &Outcomes{Delivered: b.Delivered, Dead: b.Dead, Again: b.Again}
		}
	}
	if r := d.Receipt; r != nil {
		v.Receipt = &Receipt{Written: r.Written, Due: r.Due(), Error: text(r.Error)}
		if r.Name != "" {
			v.Receipt.Name = text(r.Name) + ".receipt.json"
		}
	}
	v.Format, v.Encoding = d.Read.Format, d.Read.Encoding
	for _, n := range d.Read.Notes {
		v.Notes = append(v.Notes, Note{What: n.What, Value: text(n.Value), Why: text(n.Why)})
	}
	if v.Timeline == nil {
		v.Timeline = []ingest.TimelineEvent{}
	}
	return v
}

func viewLetter(l *ingest.Letter) Letter {
	v := Letter{
		ID: id(l.ID), Arrival: ingest.Ref{Arrival: l.Arrival, Event: l.Event}.String(), Pipeline: l.Pipeline,
		Record: l.Pos.Record, Line: l.Pos.Line, Column: l.Pos.Column,
		Stage: string(l.Stage), Sink: l.Sink, Reason: text(l.Reason), Status: l.Status,
		Answer: text(l.Answer), Uncertain: l.Uncertain, Replaying: l.Replaying, At: when(l.At),
	}
	v.Name, v.NameBase64 = name(l.Name)
	if raw := string(l.Raw); utf8.ValidString(raw) {
		v.Raw = &raw
	} else {
		b64 := base64.StdEncoding.EncodeToString(l.Raw)
		v.RawBase64 = &b64
	}
	return v
}

func viewAudit(r *ingest.AuditRow) Audit {
	c := r.Counts
	return Audit{
		Pipeline: r.Pipeline, Arrival: ingest.Ref{Arrival: r.Arrival, Event: r.Event}.String(), State: string(r.State), Balanced: r.Balanced,
		Records: c.Records, Delivered: c.Delivered, Duplicate: c.Duplicate, Filtered: c.Filtered, Dead: c.Dead,
		Why: r.Why,
	}
}

func id(n int64) string { return strconv.FormatInt(n, 10) }

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// text keeps bytes that are no UTF-8 from looking like text.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func name(s string) (shown, b64 string) {
	if utf8.ValidString(s) {
		return s, ""
	}
	return text(s), base64.StdEncoding.EncodeToString([]byte(s))
}
