package config

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
)

const everySetting = `
sinks:
  a: {type: http, url: "http://x.example/{pipeline}/{id}?k={key}", body: template, template: '{"a": {records}, "x": "$${y}"}', batch: {max_records: 7, max_bytes: 10KB, max_wait: 250ms}, order_by: [c]}
  b: {type: file, path: "/out/{date}.ndjson"}
  c: {type: stdout}
  other: {type: stdout}
pipelines:
  csv:
    source: {type: dir, path: a}
    format: {type: csv, delimiter: ";", quote: "", escape: '\', header: 2, columns: [a, "b \" ü"], encoding: windows-1252, skip_rows: 1, skip_footer: 2, comment: "#", trim: true, null: ["", NULL], ragged: pad}
    record:
      key: ["*"]
      rest: true
      fields: {id: order_id,  "Artikel-Nr.": {from: x, optional: true}, n: {value: 1.10}, o: {value: {b: [1, null]}}, e: {expr: "a + b", type: decimal, decimal: ",", thousands: ".", zone: Europe/Berlin}}
      where: x > 1
      bad_limit: 12.5%
      on_invalid: reject_file
    dedupe: {records: take, scope: shared, keep: 36h, changed: send, files: take}
    sinks: [b, a, c]
  json: {source: {type: dir, path: b}, format: {type: json, records: data.orders}, sinks: [c]}
  xml: {source: {type: dir, path: c}, format: {type: xml, record: A/B, attribute_prefix: "", text_key: t, lists: [L, M]}, sinks: [c]}
  xlsx: {source: {type: dir, path: d}, format: {type: xlsx, sheet: 2, header_row: 0, range: "A1:B2"}, sinks: [c]}
  named: {source: {type: dir, path: e}, format: {type: xlsx, sheet: "2", header_row: 3}, sinks: [c]}
  fixed: {source: {type: dir, path: f}, format: {type: fixed, columns: [{name: a, width: 3}, {name: b, start: 9, width: 2}]}, sinks: [c]}
  raw: {source: {type: dir, path: g}, format: raw, record: {fields: {"\x7f\u2028\N \"\\": "\0\e"}}, sinks: [c]}
  auto: {source: {type: dir, path: h}, sinks: [c]}
`

func TestSnapshotRestoresEverySetting(t *testing.T) {
	c := good(t, everySetting)
	for i := range c.Pipelines {
		p := &c.Pipelines[i]
		snap, err := p.Snapshot(c.Sinks)
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(snap) {
			t.Errorf("%s: no JSON: %s", p.Name, snap)
		}
		back, sinks, err := FromSnapshot(snap)
		if err != nil {
			t.Fatalf("%s: %v\n%s", p.Name, err, snap)
		}
		want := &Pipeline{Name: p.Name, Format: p.Format, Record: p.Record, Dedupe: p.Dedupe, Sinks: p.Sinks}
		if !reflect.DeepEqual(back, want) {
			t.Errorf("%s: got\n%+v\nwant\n%+v", p.Name, back, want)
		}
		for j, s := range sinks {
			if now := c.Sink(p.Sinks[j]).Settings(); !reflect.DeepEqual(s, now) {
				t.Errorf("%s: got\n%+v\nwant\n%+v", p.Name, s, now)
			}
		}
		again, err := back.Snapshot(c.Sinks)
		if err != nil || !bytes.Equal(again, snap) {
			t.Errorf("%s: %v, written again it is\n%s\nnot\n%s", p.Name, err, again, snap)
		}
	}
	a := c.Sink("a").Settings()
	if strings.Join(a.URLFields, " ") != "id key" || !a.PerRecord() {
		t.Errorf("url fields %q", a.URLFields)
	}
}

// A snapshot that was written once is read the same way for ever: this file
// is never updated, a new version gets a file of its own.
func TestSnapshotV1(t *testing.T) {
	data, err := os.ReadFile("testdata/snapshot_v1.json")
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.TrimSpace(data)
	p, sinks, err := FromSnapshot(data)
	if err != nil {
		t.Fatal(err)
	}
	c := good(t, everySetting)
	want := c.Pipeline("csv")
	if !reflect.DeepEqual(p.Format, want.Format) || !reflect.DeepEqual(p.Record, want.Record) || p.Dedupe != want.Dedupe {
		t.Errorf("got\n%+v", p)
	}
	if len(sinks) != 3 || sinks[1].Template != `{"a": {records}, "x": "${y}"}` || sinks[0].Path != "/out/{date}.ndjson" {
		t.Errorf("got\n%+v", sinks)
	}
	// Keys that are not in it yet have the defaults of their time.
	p, _, err = FromSnapshot([]byte(`{"v":1,"pipeline":"p","format":{"type":"csv"},"record":{},"dedupe":{"scope":"p"},"sinks":[]}`))
	if err != nil || p.Format.CSV.Header != 1 || p.Format.CSV.Quote != `"` || p.Record.BadLimit != 20 || p.Dedupe.Records != "skip" {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestBadSnapshots(t *testing.T) {
	for _, text := range []string{
		"", "{}", "null", "[]", "x: 1", `{"v":2,"pipeline":"p","format":{"type":"csv"},"record":{},"dedupe":{},"sinks":[]}`,
		`{"v":1,"pipeline":"p","format":{"type":"parquet"},"record":{},"dedupe":{},"sinks":[]}`,
		`{"v":1,"pipeline":"p","format":{"type":"csv"},"record":{"new":1},"dedupe":{},"sinks":[]}`,
		`{"v":1,"pipeline":"p","format":{"type":"csv"},"record":{},"dedupe":{},"sinks":[{"name":"a"}]}`,
	} {
		if p, _, err := FromSnapshot([]byte(text)); err == nil {
			t.Errorf("%s: %+v", text, p)
		}
	}
	c := good(t, small)
	if _, err := c.Pipelines[0].Snapshot(nil); err == nil {
		t.Error("a snapshot without its sink")
	}
}

// A trailer is a setting of the source that shapes what is read, so an arrival
// keeps it.
func TestSnapshotTrailer(t *testing.T) {
	c := good(t, small+"  q: {source: {type: dir, path: /q, proof: {trailer: \"^END$\"}}, sinks: [api]}\n")
	for name, want := range map[string]string{"p": "", "q": "^END$"} {
		data, err := c.Pipeline(name).Snapshot(c.Sinks)
		if err != nil {
			t.Fatal(err)
		}
		p, _, err := FromSnapshot(data)
		if err != nil || p.Trailer() != want || strings.Contains(string(data), "trailer") != (want != "") {
			t.Errorf("%s: %v, %q of %s", name, err, p.Trailer(), data)
		}
	}
}
