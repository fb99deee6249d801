// Package source is what watched folders share over any lister: which names
// are wanted, when a file is whole, in which order files are taken up, and
// what is said about those that cannot be.
//
// It promises:
//
//   - A file is ripe only when two looks at it, at least `settle` apart by the
//     monotonic clock, saw the same size, mtime and inode with no other state
//     in between, or when its done_file is there. A settle of zero takes it at
//     the first look, for folders that files are renamed into.
//   - Where a sidecar is asked for, a file without one is not ripe, and one that
//     its owner found to be Unproven is not before it or its sidecar changes.
//   - A file with a second hard link is not ripe: a rename by link and unlink
//     is still under way, or it belongs elsewhere too.
//   - Notifications are hints, the listing decides: a file that no hint told of
//     is found by the next listing, and one that a listing did not show is
//     forgotten, but only where that listing came to its end.
//   - Memory is bounded: of a folder with more names than the limit, the first
//     in order are followed, the others later.
//   - The same problem with the same file is told once.
//
// The package does no I/O. Names are bytes, relative to the source, with
// slashes.
package source

import (
	"context"
	"fmt"
	"io/fs"
	"time"
)

// An Entry is one name of a folder and what stood there at one look.
type Entry struct {
	Name    string // relative to the source
	Size    int64
	ModTime time.Time
	Device  uint64
	Inode   uint64 // 0: not known
	Mode    fs.FileMode
	Links   uint64 // hard links; 0 where not known
}

// Same reports whether o is the same file in the same state.
func (e *Entry) Same(o *Entry) bool {
	return e.Size == o.Size && e.ModTime.Equal(o.ModTime) && e.Inode == o.Inode && e.Device == o.Device
}

// A Lister lists a folder.
type Lister interface {
	// List calls yield for every entry whose name the source's Filter wants, in
	// any order, and stops at yield's error. It returns nil only if it came to
	// the end of the folder.
	List(ctx context.Context, yield func(Entry) error) error
}

// A Kind says what keeps a file from being taken up.
type Kind uint8

// The kinds of problems.
const (
	Unreadable Kind = iota + 1 // may not be opened
	Unmovable                  // may not be renamed
	TooLarge                   // passes max_size
	Linked                     // has had another hard link for minutes
	StillOpen                  // unchanged but open for writing; taken up nevertheless
	Unsettled                  // still changing when a sweep ended
	TooMany                    // the folder has more names than are followed at once
	Unproven                   // is not what its sidecar or trailer says
	NoRoom                     // does not fit on the disk now
	BadName                    // has a name that is not believed
	Unmarked                   // without its done_file or sidecar when a sweep ended
)

func (k Kind) String() string {
	switch k {
	case Unreadable:
		return "unreadable"
	case Unmovable:
		return "unmovable"
	case TooLarge:
		return "too large"
	case Linked:
		return "hard-linked"
	case StillOpen:
		return "still open"
	case Unsettled:
		return "unsettled"
	case TooMany:
		return "too many names"
	case Unproven:
		return "unproven"
	case NoRoom:
		return "no room"
	case BadName:
		return "bad name"
	case Unmarked:
		return "unmarked"
	}
	return fmt.Sprintf("problem %d", uint8(k))
}

// A Problem is something about one file that a person may have to mend. The
// file stays where it is and is looked at again.
type Problem struct {
	Kind Kind
	Name string // "" for TooMany and BadName
	Size int64
	Err  error // the cause and what to do; never nil
}

func (p *Problem) Error() string {
	if p.Name == "" {
		return p.Err.Error()
	}
	return fmt.Sprintf("%q: %v", p.Name, p.Err)
}

func (p *Problem) Unwrap() error { return p.Err }
