package webhook

import (
	"errors"
	"io"
	"sync/atomic"
)

// A room bounds the memory that the bodies of all requests take together. One
// alone always fits, so that no setting locks a hook out.
type room struct {
	most int64
	used atomic.Int64
}

// A stay is what one request takes of a room.
type stay struct {
	room *room
	n    int64
}

var (
	errNoRoom   = errors.New("no room")
	errTooLarge = errors.New("too large")
)

func (s *stay) take(n int64) error {
	for {
		used := s.room.used.Load()
		if used > s.n && used+n > s.room.most {
			return errNoRoom
		}
		if s.room.used.CompareAndSwap(used, used+n) {
			s.n += n
			return nil
		}
	}
}

func (s *stay) leave() { s.room.used.Add(-s.n) }

// read reads `want` bytes, or, where want is negative, all there are up to
// `most`. Memory follows what came, whatever was said of its length.
func (s *stay) read(in io.Reader, want, most int64) ([]byte, error) {
	end := want
	if want < 0 {
		end = most + 1
	}
	b := make([]byte, 0, min(end, 16<<10))
	if err := s.take(int64(cap(b))); err != nil {
		return nil, err
	}
	for int64(len(b)) < end {
		if len(b) == cap(b) {
			more := min(end, 2*int64(cap(b)))
			if err := s.take(more); err != nil {
				return nil, err
			}
			grown := make([]byte, len(b), more)
			copy(grown, b)
			s.n -= int64(cap(b))
			s.room.used.Add(-int64(cap(b)))
			b = grown
		}
		n, err := in.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case err == io.EOF && int64(len(b)) < want:
			return nil, io.ErrUnexpectedEOF
		case err == io.EOF:
			if want < 0 && int64(len(b)) > most {
				return nil, errTooLarge
			}
			return b, nil
		case err != nil:
			return nil, err
		}
	}
	if want < 0 {
		return nil, errTooLarge
	}
	return b, nil
}
