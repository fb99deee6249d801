package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Sink is where records go. Type says which of HTTP and File counts; the rest
// all types have, as far as keys allows.
type Sink struct {
	Name     string
	Type     string // http, file, stdout
	Body     string // array, ndjson, object, template, form, csv, xml, file; ndjson for file and stdout
	Template string // with {records} or {record}
	Batch    Batch
	OrderBy  []string
	Retry    Retry
	HTTP     HTTP
	File     File

	veil *veil // hides what ${…} brought in, in what is stored
}

func (s *Sink) discriminator() string { return "type" }
func (s *Sink) chosen() string        { return s.Type }
func (s *Sink) keys() []key           { return s.variant(s.Type) }
func (s *Sink) variants() []string    { return []string{"http", "file", "stdout"} }

func (s *Sink) variant(of string) []key {
	typ := key{name: "type", to: oneOf(&s.Type, s.variants()...), required: true, doc: "What kind of target it is."}
	batch := key{name: "batch", to: blockTarget{&s.Batch}, doc: "What goes into one request."}
	retry := key{name: "retry", to: blockTarget{&s.Retry}, doc: "How a try that failed is repeated."}
	switch of {
	case "http":
		h := s.HTTP.keys()
		return slices.Concat([]key{typ}, h[:5], []key{
			{name: "body", to: oneOf(&s.Body, "array", "ndjson", "object", "template", "file").notYet("form", "csv", "xml"), def: "array", doc: "How records become a body: a JSON array, a line each, one object a request, a template, or the file as it is (with `format: raw`)."},
			{name: "template", to: words(&s.Template), defDoc: "none", doc: "The body, with `{records}` (a JSON array) or `{record}` (one a request) in it; for `body: template`. For alerts, with `{message}` and their other fields."},
			batch,
			{name: "order_by", to: texts(&s.OrderBy), defDoc: "none", doc: "Fields of the record: records with the same values are sent in order, others in parallel, in as many lanes as `concurrency`, at most 64."},
		}, h[5:], []key{retry})
	case "file":
		return slices.Concat([]key{typ}, s.File.keys(), []key{batch, retry})
	case "stdout":
		return []key{typ, batch, retry}
	}
	return []key{typ}
}

func (s *Sink) check(say func(key, message, hint string)) {
	if s.Type == "http" {
		s.HTTP.check(say)
	} else {
		s.Body = "ndjson"
	}
	if s.Body == "file" && len(s.OrderBy) > 0 {
		say("order_by", "`order_by` is of no use with `body: file`: a file has no records to put in order", "concurrency: 1 sends one file after the other")
	}
	for i, f := range s.OrderBy {
		if slices.Contains(s.OrderBy[:i], f) {
			say(fmt.Sprintf("order_by[%d]", i), fmt.Sprintf("`%s` stands in `order_by` twice", printable(f)), "")
		}
	}
	whole, one := strings.Contains(s.Template, "{records}"), strings.Contains(s.Template, "{record}")
	switch {
	case s.Body == "template" && s.Template == "":
		say("template", "`body: template` needs `template`", "as in template: '{\"orders\": {records}}'")
	case s.Body == "template" && !whole && !one && !s.ForAlerts():
		say("template", "`template` holds neither `{records}` nor `{record}`, so no record would be sent", "as in template: '{\"orders\": {records}}'")
	case s.Body == "template" && whole && one:
		say("template", "`template` holds both `{records}` and `{record}`", "{records} is all of a batch, {record} makes a request per record")
	}
}

// ForAlerts reports whether the template holds a field of alerts and no record:
// it is for a sink that only `alerts` name.
func (s *Sink) ForAlerts() bool {
	if s.Body != "template" || strings.Contains(s.Template, "{record") {
		return false
	}
	return slices.ContainsFunc([]string{"kind", "severity", "arrival", "name", "message", "action", "since", "over", "url"},
		func(field string) bool { return strings.Contains(s.Template, "{"+field+"}") })
}

// PerRecord reports whether each request carries one record.
func (s *Sink) PerRecord() bool {
	return s.Body == "object" || s.Body == "form" ||
		s.Body == "template" && strings.Contains(s.Template, "{record}") ||
		s.Type == "http" && len(s.HTTP.URLFields()) > 0
}

// Batch bounds what one request carries; whichever comes first ends it.
type Batch struct {
	MaxRecords int
	MaxBytes   int64
	MaxWait    time.Duration // that an event waits for others; 0 = as long as others are under way
}

func (b *Batch) keys() []key {
	return []key{
		{name: "max_records", to: integer{&b.MaxRecords, 1, 100_000}, def: "500", doc: "The most records."},
		{name: "max_bytes", to: size(&b.MaxBytes, 1), def: "1MiB", doc: "The most bytes, before compression; a single larger record still goes alone."},
		{name: "max_wait", to: duration(&b.MaxWait, 0), defDoc: "at most 1s, and none while the sink has nothing to do", doc: "How long an event waits for others to share a request with. The records of a file never wait."},
	}
}

// Retry is how a try that failed is repeated.
type Retry struct {
	Initial     time.Duration
	Max         time.Duration
	GiveUpAfter time.Duration
}

func (r *Retry) keys() []key {
	return []key{
		{name: "initial", to: duration(&r.Initial, time.Millisecond), def: "500ms", doc: "The first pause; it grows from try to try, with jitter."},
		{name: "max", to: duration(&r.Max, time.Millisecond), def: "1m", doc: "The longest pause, unless the target's `Retry-After` says otherwise."},
		{name: "give_up_after", to: duration(&r.GiveUpAfter, time.Second), def: "24h", doc: "After how long a batch becomes dead letters, marked uncertain."},
	}
}

func (r *Retry) check(say func(key, message, hint string)) {
	if r.Max > 0 && r.Initial > r.Max {
		say("initial", "`initial` is longer than `max`", "")
	}
}

// File is an NDJSON file that grows.
type File struct {
	Path string // absolute; may hold {pipeline}, {date}, {time} and {name}
}

func (f *File) keys() []key {
	return []key{{name: "path", to: filePath{location{&f.Path}}, required: true, doc: "The file that grows; may hold `{pipeline}`, `{date}`, `{time}` and `{name}`, all of the arrival, in UTC."}}
}

// A filePath is a location with placeholders.
type filePath struct{ location }

func (f filePath) decode(d *decoder, n *node, path string) {
	f.location.decode(d, n, path)
	if _, ok := withoutNames(*f.p, "pipeline", "date", "time", "name"); !ok && !d.failed[path] {
		d.problem(n, path, fmt.Sprintf("`path`: %s may hold {pipeline}, {date}, {time} and {name}, nothing else in braces", n.quote()), "")
	}
}

// checkURL wants an absolute http or https URL.
func checkURL(s string) error {
	_, err := parseURL(s)
	return err
}

var errNoURL = errors.New("is no absolute URL; write one like https://api.example.com/orders")
