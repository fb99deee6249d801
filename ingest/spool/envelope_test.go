package spool

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"testing"

	"ingestd/ingest"
)

// seal puts the right length and checksum around any content, so that the
// fuzzer gets past them.
func seal(content []byte) []byte {
	b := append([]byte(envelopeMagic), envelopeVersion)
	b = binary.LittleEndian.AppendUint64(b, uint64(envelopeHead+len(content)+envelopeFoot))
	b = append(b, content...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func FuzzParseEnvelope(f *testing.F) {
	e := &Envelope{
		ContentType: "text/csv", Body: []byte("a,b\n"), Vars: []ingest.Var{{Name: "a", Value: "b"}},
		Records: []Enclosed{{Pos: ingest.Position{Record: 1, Offset: -1}, At: 0, Len: 4, Raw: []byte("a,b")}},
	}
	b, err := appendEnvelope(nil, 1, e)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[envelopeHead : len(b)-envelopeFoot])
	f.Add([]byte{2, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0})
	f.Fuzz(func(t *testing.T, content []byte) {
		got, err := parseEnvelope(seal(content), 1)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		// What is accepted holds together and survives another round.
		again, err := appendEnvelope(nil, 1, got)
		if err != nil {
			t.Fatal(err)
		}
		back, err := parseEnvelope(again, 1)
		if err != nil {
			t.Fatal(err)
		}
		third, err := appendEnvelope(nil, 1, back)
		if err != nil || !bytes.Equal(again, third) {
			t.Fatalf("%v: %x then %x", err, again, third)
		}
	})
}

// A count of 2^60 records costs no memory.
func TestParseEnvelopeBoundsCounts(t *testing.T) {
	content := binary.AppendVarint(nil, 1)
	content = append(content, 0, 0)
	content = binary.AppendUvarint(content, 1<<60)
	if n := testing.AllocsPerRun(10, func() {
		if _, err := parseEnvelope(seal(content), 1); !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
	}); n > 20 {
		t.Errorf("%v allocations", n)
	}
}

func TestVolumes(t *testing.T) {
	tests := []struct {
		path string
		want Volume
	}{{"/proc", Volume{Inodes: true}}, {t.TempDir(), Volume{Inodes: true}}}
	for _, tt := range tests {
		if got, err := VolumeOf(tt.path); err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v", tt.path, got, err)
		}
	}
}
