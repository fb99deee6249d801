package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"ingestd/ingest"
)

// An Error is an answer that is no success: on the wire, and at the client.
type Error struct {
	Status  int    `json:"-"` // HTTP
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what a person can do
	Err     error  `json:"-"`              // the cause, or nil
}

func (e *Error) Error() string { return e.Message }
func (e *Error) Unwrap() error { return e.Err }

// Is makes an Error that came over the wire match what was sent.
func (e *Error) Is(target error) bool {
	return target == ingest.ErrNotFound && e.Status == http.StatusNotFound
}

// Invalid says that the question itself is wrong.
func Invalid(format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf(format, args...)}
}

// Conflict says that it cannot be done as things stand.
func Conflict(hint, format string, args ...any) *Error {
	return &Error{Status: http.StatusConflict, Hint: hint, Message: fmt.Sprintf(format, args...)}
}

// statuses maps causes to answers; the first match counts.
var statuses = []struct {
	err    error
	status int
}{
	{ingest.ErrNotFound, http.StatusNotFound},
	{context.DeadlineExceeded, http.StatusGatewayTimeout},
	{context.Canceled, http.StatusServiceUnavailable},
	{errors.ErrUnsupported, http.StatusNotImplemented},
}

func toError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		if e.Error() == err.Error() {
			return e
		}
		return &Error{Status: e.Status, Message: err.Error(), Hint: e.Hint, Err: err}
	}
	e = &Error{Status: http.StatusInternalServerError, Message: err.Error(), Err: err}
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			e.Status = s.status
			break
		}
	}
	return e
}

type errorBody struct {
	Error *Error `json:"error"`
}
