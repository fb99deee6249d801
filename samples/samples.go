// Package samples holds what a newcomer starts from: configs, a systemd unit,
// and inputs of every format with the records that are in them. The demo and
// the tests use the very same files.
//
// Inputs stand under in/, by format. For each of them, expected/NAME.ndjson
// lists its good records in order, one object a line, exactly as `ingestd
// preview` shows them where no fields are configured.
package samples

import (
	"bytes"
	"embed"
	"io/fs"
	"path"
)

//go:embed ingestd.yaml quickstart.yaml sftp.yaml sftp-drop.yaml webhook.yaml systemd in expected alerts prometheus
var files embed.FS

// FS is all of it, by path within this directory.
func FS() fs.FS { return files }

// Starter is the starter config, Quickstart the one that reads all inputs, SFTP
// one that polls a partner's server.
func Starter() []byte    { return read("ingestd.yaml") }
func Quickstart() []byte { return read("quickstart.yaml") }
func SFTP() []byte       { return read("sftp.yaml") }

// SFTPDrop is a config with the built-in SFTP server.
func SFTPDrop() []byte { return read("sftp-drop.yaml") }

// Unit is the systemd unit.
func Unit() []byte { return read("systemd/ingestd.service") }

// An Input is one sample file, with what is in it.
type Input struct {
	Path     string // within FS
	Format   string // "csv", "json", "xml", "xlsx"
	Pipeline string // of Quickstart, that reads it
	Records  int    // rows, elements and objects in it, good and bad
	Bad      []Bad  // in order
	// Repeated is how many of its good records have the key of an earlier one of
	// this file, Known of one in an earlier Input of the same pipeline.
	Repeated, Known int
}

// Bad is a record that ends as a dead letter.
type Bad struct {
	Line  int64
	Stage string // "parse" or "shape"
}

// Inputs lists the inputs in the order in which they are meant to arrive.
func Inputs() []Input {
	return []Input{
		{
			Path: "in/csv/orders-2026-03-05.csv", Format: "csv", Pipeline: "orders_csv", Records: 12,
			Bad: []Bad{{Line: 12, Stage: "parse"}}, Repeated: 1,
		},
		{Path: "in/csv/orders-2026-03-06.csv.gz", Format: "csv", Pipeline: "orders_csv", Records: 6, Known: 2},
		{Path: "in/json/orders-2026-03-05.json", Format: "json", Pipeline: "orders_json", Records: 5, Repeated: 1},
		{
			Path: "in/json/orders-2026-03-06.ndjson", Format: "json", Pipeline: "orders_json", Records: 6,
			Bad: []Bad{{Line: 3, Stage: "parse"}}, Repeated: 1, Known: 1,
		},
		{Path: "in/xml/orders-2026-03-05.xml", Format: "xml", Pipeline: "orders_xml", Records: 4, Repeated: 1},
		{
			Path: "in/xlsx/orders-2026-03-05.xlsx", Format: "xlsx", Pipeline: "orders_xlsx", Records: 6,
			Bad: []Bad{{Line: 6, Stage: "shape"}}, Repeated: 1,
		},
	}
}

// Name is the input's file name.
func (in Input) Name() string { return path.Base(in.Path) }

// Bytes is the input's content.
func (in Input) Bytes() []byte { return read(in.Path) }

// Expected is its readable records in order, each as one JSON object. It holds
// records that fail only at "shape".
func (in Input) Expected() [][]byte {
	text := bytes.TrimSuffix(read("expected/"+in.Name()+".ndjson"), []byte("\n"))
	return bytes.Split(text, []byte("\n"))
}

// Delivered is how many records reach a target that accepts all, where the
// inputs arrive in order.
func (in Input) Delivered() int { return in.Records - len(in.Bad) - in.Repeated - in.Known }

func read(name string) []byte {
	b, err := files.ReadFile(name)
	if err != nil {
		panic("samples: " + err.Error()) // a name that is not embedded cannot be built
	}
	return b
}
