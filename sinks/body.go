package sinks

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"ingestd/ingest"
)

// The kinds of bodies that are made of JSON records.
const (
	BodyArray    = "array"    // [record,record]
	BodyNDJSON   = "ndjson"   // record\nrecord\n
	BodyObject   = "object"   // record: one a request
	BodyTemplate = "template" // text around {records} or {record}
	BodyFile     = "file"     // the arrival's bytes as they are
)

const (
	typeJSON   = "application/json"
	typeNDJSON = "application/x-ndjson"
	typeBytes  = "application/octet-stream"
)

// BodySpec says what the requests of one sink and pipeline look like.
type BodySpec struct {
	Kind        string
	Template    string // for BodyTemplate
	Pipeline    string // stands for {pipeline} in the template
	ContentType string // default: by kind
}

// placeholder matches the words of a template. Other text in braces is left
// alone: templates are JSON, and may hold GraphQL.
const placeholder = `\{(records|record|pipeline)\}`

// Body builds the body that spec describes.
//
// A template holds exactly one {records}, which becomes the JSON array of the
// batch's records, or one {record}, which becomes the one record of a request.
// {pipeline} becomes the pipeline's name, escaped for a JSON string. All other
// text stays as it is and need not be JSON.
func Body(spec BodySpec) (ingest.Body, error) {
	if spec.Template != "" && spec.Kind != BodyTemplate {
		return ingest.Body{}, fmt.Errorf("body %q takes no template; say body: template", spec.Kind)
	}
	var b ingest.Body
	switch spec.Kind {
	case BodyArray:
		b = ingest.Body{ContentType: typeJSON, Open: []byte("["), Between: []byte(","), Close: []byte("]")}
	case BodyNDJSON:
		b = ingest.Body{ContentType: typeNDJSON, Between: []byte("\n"), Close: []byte("\n")}
	case BodyObject:
		b = ingest.Body{ContentType: typeJSON, PerRecord: true}
	case BodyFile:
		b = ingest.Body{ContentType: typeBytes, PerRecord: true, File: true}
	case BodyTemplate:
		var err error
		if b, err = templateBody(spec.Template, spec.Pipeline); err != nil {
			return ingest.Body{}, err
		}
	default:
		return ingest.Body{}, fmt.Errorf("body %q is none of %s, %s, %s, %s, %s",
			spec.Kind, BodyArray, BodyNDJSON, BodyObject, BodyTemplate, BodyFile)
	}
	if spec.ContentType != "" {
		b.ContentType = spec.ContentType
	}
	return b, nil
}

func templateBody(text, pipeline string) (ingest.Body, error) {
	b := ingest.Body{ContentType: typeJSON}
	var before, after strings.Builder
	out, found, rest := &before, "", 0
	for _, at := range regexp.MustCompile(placeholder).FindAllStringIndex(text, -1) {
		out.WriteString(text[rest:at[0]])
		word := text[at[0]:at[1]]
		rest = at[1]
		if word == "{pipeline}" {
			quoted := ingest.AppendString(nil, []byte(strings.ToValidUTF8(pipeline, "\uFFFD")))
			out.Write(quoted[1 : len(quoted)-1])
			continue
		}
		if found != "" {
			return b, fmt.Errorf("template: holds %s and %s; it may hold one of them, once", found, word)
		}
		found, out = word, &after
	}
	out.WriteString(text[rest:])
	switch found {
	case "":
		return b, errors.New("template: holds neither {records} nor {record}")
	case "{records}":
		before.WriteByte('[')
		b.Between = []byte(",")
		b.Close = append(b.Close, ']')
	case "{record}":
		b.PerRecord = true
	}
	b.Open = []byte(before.String())
	b.Close = append(b.Close, after.String()...)
	return b, nil
}
