package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// snapshotVersion is raised when a snapshot is to be read in another way. A
// key that is added later needs no new version as long as its default does
// what was done before it existed: older snapshots do not hold it.
const snapshotVersion = 1

// maxLanes is the most lanes of a sink with order_by.
const maxLanes = 64

// SinkSettings are the settings of a sink that shape its requests.
type SinkSettings struct {
	Name      string
	Type      string
	Body      string
	Template  string
	Batch     Batch
	OrderBy   []string
	Lanes     int      // records are put in order in; 0 = they are not
	Path      string   // file
	URLFields []string // http: the record's fields in the URL; any makes a request per record
}

// PerRecord reports whether each request carries one record.
func (s *SinkSettings) PerRecord() bool {
	k := Sink{Body: s.Body, Template: s.Template}
	return k.PerRecord() || len(s.URLFields) > 0
}

// Settings are the sink's settings that an arrival keeps.
func (s *Sink) Settings() SinkSettings {
	out := SinkSettings{Name: s.Name, Type: s.Type, Body: s.Body, Template: s.veil.hide(s.Template), Batch: s.Batch, OrderBy: s.OrderBy}
	switch s.Type {
	case "http":
		out.URLFields = s.HTTP.URLFields()
		// One request at a time is in order as it is.
		if len(s.OrderBy) > 0 && s.HTTP.Concurrency > 1 {
			out.Lanes = min(s.HTTP.Concurrency, maxLanes)
		}
	case "file":
		out.Path = s.File.Path
	}
	return out
}

func (s *SinkSettings) keys() []key {
	return []key{
		{name: "name", to: text{p: &s.Name}, required: true},
		{name: "type", to: text{p: &s.Type}, required: true},
		{name: "body", to: text{p: &s.Body}},
		{name: "template", to: text{p: &s.Template}},
		{name: "batch", to: blockTarget{&s.Batch}},
		{name: "order_by", to: texts(&s.OrderBy)},
		{name: "lanes", to: integer{&s.Lanes, 1, maxLanes}},
		{name: "path", to: text{p: &s.Path}},
		{name: "url_fields", to: texts(&s.URLFields)},
	}
}

// A snapshot is what an arrival keeps of its pipeline.
type snapshot struct {
	version  int
	pipeline *Pipeline
	trailer  string
	sinks    []SinkSettings
}

func (s *snapshot) keys() []key {
	return []key{
		{name: "v", to: integer{&s.version, 1, snapshotVersion}, required: true},
		{name: "pipeline", to: text{p: &s.pipeline.Name}, required: true},
		{name: "format", to: blockTarget{&s.pipeline.Format}, required: true},
		{name: "trailer", to: text{p: &s.trailer}},
		{name: "record", to: blockTarget{&s.pipeline.Record}, required: true},
		{name: "dedupe", to: blockTarget{&s.pipeline.Dedupe}, required: true},
		{name: "sinks", to: list[SinkSettings]{p: &s.sinks, item: func(v *SinkSettings) target { return blockTarget{v} }}, required: true},
	}
}

// Snapshot is the settings that an arrival keeps from its Begin to its end, as
// JSON: format, trailer, record, dedupe, and of the pipeline's sinks what shapes their
// requests. sinks are those of p.Sinks; others are left out. It is the same
// bytes for the same settings and holds no secret; defaults are written out,
// so that a later change of a default does not reach it.
func (p *Pipeline) Snapshot(sinks []Sink) ([]byte, error) {
	s := &snapshot{version: snapshotVersion, pipeline: p, trailer: p.Trailer()}
	for _, name := range p.Sinks {
		i := slices.IndexFunc(sinks, func(k Sink) bool { return k.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("snapshot of pipeline %s: no sink %s", p.Name, name)
		}
		s.sinks = append(s.sinks, sinks[i].Settings())
	}
	if s.sinks == nil {
		s.sinks = []SinkSettings{}
	}
	return encodeBlock(nil, s.keys()), nil
}

// FromSnapshot restores exactly what Snapshot wrote. Of the pipeline Name,
// Format, Trailer, Record, Dedupe and Sinks are set; secrets are not, see TakeSecrets
// and Config.Unveil.
func FromSnapshot(data []byte) (*Pipeline, []SinkSettings, error) {
	n, err := parseJSON(data)
	if err != nil {
		return nil, nil, fmt.Errorf("read snapshot: %w", err)
	}
	s := &snapshot{pipeline: &Pipeline{}}
	var found, later collector
	d := &decoder{
		found: &found, later: &later, places: map[string]*node{}, failed: map[string]bool{}, labels: map[string]string{},
		defaults: defaultNodes{},
	}
	d.block(s, n, n, "")
	if len(found.list) > 0 {
		return nil, nil, fmt.Errorf("read snapshot (was it written by a newer version?): %s", found.list[0].Message)
	}
	s.pipeline.trailer = s.trailer
	for _, k := range s.sinks {
		s.pipeline.Sinks = append(s.pipeline.Sinks, k.Name)
	}
	return s.pipeline, s.sinks, nil
}

// parseJSON reads a JSON document as a node.
func parseJSON(data []byte) (*node, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	n, err := jsonNode(dec, 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("more follows the JSON")
	}
	return n, nil
}

func jsonNode(dec *json.Decoder, depth int) (*node, error) {
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	if depth > 2*maxDepth {
		return nil, errors.New("nested too deep")
	}
	n := &node{}
	switch t := t.(type) {
	case json.Delim:
		for dec.More() {
			e := entry{}
			if t == '{' {
				if e.key, err = jsonNode(dec, depth+1); err != nil {
					return nil, err
				}
			}
			if e.value, err = jsonNode(dec, depth+1); err != nil {
				return nil, err
			}
			n.entries = append(n.entries, e)
			n.items = append(n.items, e.value)
		}
		if n.kind = mapNode; t == '[' {
			n.kind, n.entries = listNode, nil
		} else {
			n.items = nil
		}
		_, err = dec.Token() // the end
	case string:
		n.text = t
	case json.Number:
		n.text, n.plain = t.String(), true
	case bool:
		n.text, n.plain = strconv.FormatBool(t), true
	default:
		n.text, n.plain, n.null = "null", true, true
	}
	n.raw = n.text
	return n, err
}

// TakeSecrets sets the secrets that a snapshot leaves out (a workbook's
// password) to those of the current pipeline.
func (p *Pipeline) TakeSecrets(current *Pipeline) {
	p.Format.XLSX.Password = current.Format.XLSX.Password
}
