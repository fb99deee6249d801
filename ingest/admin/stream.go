package admin

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"time"
)

// writeWithin bounds how long a listing waits for its reader to take the next
// piece.
const writeWithin = 30 * time.Second

// stream writes rows one a line as they come, so that a listing of any length
// takes the memory of one row.
func stream[R, V any](a *api, w http.ResponseWriter, r *http.Request, rows iter.Seq2[R, error], view func(*R) V) {
	out := bufio.NewWriterSize(&patient{w: w, c: http.NewResponseController(w)}, 16<<10)
	defer out.Flush()
	begun := false
	begin := func() {
		if !begun {
			begun = true
			w.Header().Set("Content-Type", "application/x-ndjson")
		}
	}
	for row, err := range rows {
		if err != nil {
			if !begun {
				a.fail(w, r, err)
				return
			}
			_ = Encode(out, errorBody{toError(err)})
			return
		}
		begin()
		if Encode(out, view(&row)) != nil {
			return // the reader went away
		}
	}
	begin()
}

// patient gives every write a new deadline.
type patient struct {
	w http.ResponseWriter
	c *http.ResponseController
}

func (p *patient) Write(b []byte) (int, error) {
	if err := p.c.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.w.Write(b)
}

// lines reads what stream wrote and closes it.
func lines[V any](body io.ReadCloser) iter.Seq2[V, error] {
	return func(yield func(V, error) bool) {
		defer body.Close()
		dec := json.NewDecoder(body)
		for {
			var raw json.RawMessage
			err := dec.Decode(&raw)
			if errors.Is(err, io.EOF) {
				return
			}
			var v V
			if err == nil {
				// A row's "error" is text; only a broken listing's is an object.
				var broken struct {
					Error json.RawMessage `json:"error"`
				}
				if json.Unmarshal(raw, &broken) == nil && len(broken.Error) > 0 && broken.Error[0] == '{' {
					e := &Error{Status: http.StatusInternalServerError}
					err = json.Unmarshal(broken.Error, e)
					if err == nil {
						err = e
					}
				} else {
					err = json.Unmarshal(raw, &v)
				}
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}
