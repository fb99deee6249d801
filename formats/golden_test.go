package formats

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"ingestd/formats/formattest"
	"ingestd/ingest"
)

func TestGolden(t *testing.T) {
	formattest.Run(t, "testdata/golden", func(in ingest.Input, spec []byte) (ingest.Reader, error) {
		s := Spec{TempDir: t.TempDir()}
		if spec != nil {
			if err := json.Unmarshal(spec, &s); err != nil {
				return nil, fmt.Errorf("spec.json: %w", err)
			}
		}
		return Open(context.Background(), s, in)
	})
}
