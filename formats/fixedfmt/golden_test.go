package fixedfmt

import (
	"encoding/json"
	"fmt"
	"io"
	"testing"

	"ingestd/formats/formattest"
	"ingestd/ingest"
)

func TestGolden(t *testing.T) {
	formattest.RunStream(t, "testdata/golden", func(r io.Reader, spec []byte) (ingest.Reader, error) {
		var o Options
		if err := json.Unmarshal(spec, &o); err != nil {
			return nil, fmt.Errorf("spec.json: %w", err)
		}
		return New(r, o)
	})
}
