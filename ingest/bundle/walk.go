package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"ingestd/ingest"
	"ingestd/ingest/journal"
)

func walk(in io.Reader, path string, each func(s *ingest.Span, body []byte) bool) error {
	r := journal.NewReader(in)
	for {
		entry, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the events of %s: %w", path, err)
		}
		s := &ingest.Span{Index: entry.Index, Event: &ingest.Event{}, Size: int64(len(entry.Body))}
		if err := json.Unmarshal(entry.Head, s.Event); err != nil {
			return fmt.Errorf("read event %d of %s: %w", entry.Index, path, err)
		}
		if !each(s, entry.Body) {
			return nil
		}
	}
}
