package xlsxfmt

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/flate"

	"ingestd/ingest"
)

const formatName = "xlsx"

// refuse is a ReadError about the workbook as a whole.
func refuse(format string, args ...any) *ingest.ReadError {
	return &ingest.ReadError{Format: formatName, Reason: fmt.Sprintf(format, args...)}
}

// refuseAt is a ReadError about a row of the sheet.
func refuseAt(row, col int, format string, args ...any) *ingest.ReadError {
	e := refuse(format, args...)
	e.Pos = ingest.Position{Line: int64(row), Column: col, Offset: -1}
	return e
}

// partError says what went wrong with reading a part of the workbook, in row
// row of the sheet if that is not 0. An error of the storage beneath, or the
// context's, is no fault of the workbook and stays what it is.
func partError(part string, row int, err error) error {
	var (
		known   *ingest.ReadError
		syntax  *syntaxError
		corrupt flate.CorruptInputError
		broken  flate.InternalError
		reason  string
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &syntax):
		return refuseAt(row, 0, "%s is %v", part, err)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		reason = "cut short"
	case errors.Is(err, zip.ErrChecksum):
		reason = "damaged: its checksum differs"
	case errors.Is(err, zip.ErrFormat):
		reason = "damaged: it is not what the workbook's directory says"
	case errors.As(err, &corrupt), errors.As(err, &broken):
		reason = "damaged: it cannot be unpacked"
	case errors.Is(err, zip.ErrAlgorithm):
		reason = "packed by a method that workbooks do not use"
	default:
		return fmt.Errorf("xlsx: read %s: %w", part, err)
	}
	return refuseAt(row, 0, "%s is %s", part, reason)
}
