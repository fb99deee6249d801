package sftp

import (
	"context"
	"errors"

	"ingestd/ingest"
	"ingestd/ingest/source"
)

// Newest fetches the newest of the files that are wanted, settled or not, into
// the spool, for a person to look at; nil: there is none. It tells nobody, asks
// for no proof, and leaves the server as it is.
func (s *Source) Newest(ctx context.Context) (*ingest.Found, error) {
	if s.o.Mailbox {
		return nil, errors.New("a file of a mailbox cannot be looked at: that would take it out")
	}
	var found *ingest.Found
	err := s.pool.using(ctx, func(c *conn) error {
		var newest *source.Entry
		err := s.lister(c, s.filter).List(ctx, func(e source.Entry) error {
			_, marks := s.filter.Marks(e.Name)
			_, proves := s.filter.Proves(e.Name)
			if e.Mode.IsRegular() && !marks && !proves && (newest == nil || newer(&e, newest)) {
				newest = &e
			}
			return nil
		})
		if err != nil || newest == nil {
			return err
		}
		f := &fetch{s: s, c: c, e: *newest}
		stop := c.bind(ctx)
		defer stop()
		if err = f.bring(ctx); err == nil {
			err = f.commit()
		}
		if f.part != nil {
			f.part.w.Abort()
		}
		found = f.found
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

func newer(a, b *source.Entry) bool {
	if c := a.ModTime.Compare(b.ModTime); c != 0 {
		return c > 0
	}
	return a.Name > b.Name
}
