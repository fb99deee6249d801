package sinks_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"ingestd/ingest"
	"ingestd/sinks"
)

// build puts records together as the engine does.
func build(b ingest.Body, records ...string) string {
	var out bytes.Buffer
	out.Write(b.Open)
	for i, r := range records {
		if i > 0 {
			out.Write(b.Between)
		}
		out.WriteString(r)
	}
	out.Write(b.Close)
	return out.String()
}

func TestBody(t *testing.T) {
	for _, c := range []struct {
		spec        sinks.BodySpec
		one, two    string // of records {"a":1} and {"a":2}; two = "": one record a request
		contentType string
		file        bool
		validAsJSON bool
	}{
		{spec: sinks.BodySpec{Kind: "array"}, one: `[{"a":1}]`, two: `[{"a":1},{"a":2}]`, contentType: "application/json", validAsJSON: true},
		{spec: sinks.BodySpec{Kind: "ndjson"}, one: "{\"a\":1}\n", two: "{\"a\":1}\n{\"a\":2}\n", contentType: "application/x-ndjson"},
		{spec: sinks.BodySpec{Kind: "object"}, one: `{"a":1}`, contentType: "application/json", validAsJSON: true},
		{spec: sinks.BodySpec{Kind: "file"}, one: `{"a":1}`, contentType: "application/octet-stream", file: true},
		{spec: sinks.BodySpec{Kind: "file", ContentType: "text/csv"}, one: `{"a":1}`, contentType: "text/csv", file: true},
		{
			spec: sinks.BodySpec{Kind: "template", Template: `{"orders": {records}}`},
			one:  `{"orders": [{"a":1}]}`, two: `{"orders": [{"a":1},{"a":2}]}`, contentType: "application/json", validAsJSON: true,
		},
		{spec: sinks.BodySpec{Kind: "template", Template: `{records}`}, one: `[{"a":1}]`, two: `[{"a":1},{"a":2}]`, contentType: "application/json", validAsJSON: true},
		{
			spec: sinks.BodySpec{Kind: "template", Template: `{"p":"{pipeline}","r":{record},"q":"{pipeline}"}`, Pipeline: "o\"1\n"},
			one:  `{"p":"o\"1\n","r":{"a":1},"q":"o\"1\n"}`, contentType: "application/json", validAsJSON: true,
		},
		{
			spec: sinks.BodySpec{Kind: "template", Template: `{"query":"mutation($r:[O!]!){add(o:$r){id}}","variables":{"r":{records}}}`},
			one:  `{"query":"mutation($r:[O!]!){add(o:$r){id}}","variables":{"r":[{"a":1}]}}`,
			two:  `{"query":"mutation($r:[O!]!){add(o:$r){id}}","variables":{"r":[{"a":1},{"a":2}]}}`, contentType: "application/json", validAsJSON: true,
		},
		{spec: sinks.BodySpec{Kind: "template", Template: "data={record};", ContentType: "text/plain"}, one: `data={"a":1};`, contentType: "text/plain"},
	} {
		b, err := sinks.Body(c.spec)
		if err != nil {
			t.Errorf("%+v: %v", c.spec, err)
			continue
		}
		if got := build(b, `{"a":1}`); got != c.one {
			t.Errorf("%+v: one record: %q, want %q", c.spec, got, c.one)
		} else if c.validAsJSON && !json.Valid([]byte(got)) {
			t.Errorf("%+v: no JSON: %q", c.spec, got)
		}
		if b.PerRecord != (c.two == "") || b.File != c.file || b.ContentType != c.contentType {
			t.Errorf("%+v: %+v", c.spec, b)
		}
		if got := build(b, `{"a":1}`, `{"a":2}`); c.two != "" && got != c.two {
			t.Errorf("%+v: two records: %q, want %q", c.spec, got, c.two)
		}
	}
}

func TestBodyRefuses(t *testing.T) {
	for _, spec := range []sinks.BodySpec{
		{},
		{Kind: "yaml"},
		{Kind: "array", Template: "{records}"},
		{Kind: "template"},
		{Kind: "template", Template: `{"orders": {recrods}}`},
		{Kind: "template", Template: `{records}{records}`},
		{Kind: "template", Template: `{records}{record}`},
	} {
		if b, err := sinks.Body(spec); err == nil {
			t.Errorf("%+v: %+v", spec, b)
		}
	}
}

// FuzzTemplate: what stands around the placeholder comes out as it is.
func FuzzTemplate(f *testing.F) {
	f.Add(`{"a":`, `}`)
	f.Add(`{id}{{}`, `{pipeline`)
	f.Fuzz(func(t *testing.T, before, after string) {
		if strings.Contains(before+after, "{record") || strings.Contains(before+after, "{pipeline}") {
			return
		}
		b, err := sinks.Body(sinks.BodySpec{Kind: "template", Template: before + "{record}" + after})
		if err != nil {
			t.Fatal(err)
		}
		if got := build(b, "X"); got != before+"X"+after {
			t.Fatalf("%q", got)
		}
	})
}
