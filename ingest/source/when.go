package source

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
)

// The actions of When.
const (
	Move   = "move"
	Delete = "delete"
	Keep   = "keep"
)

// When is what becomes of a file that was dealt with: when_done, when_failed.
type When struct {
	Action string // Move, Delete or Keep
	// To, for Move: a path with {date}, {time}, {pipeline} and {name}, relative
	// to the source's path. With a slash at its end, or without {name} in its
	// last element, it is a directory.
	To string
}

// Check returns everything that is wrong with w, joined.
func (w When) Check() error {
	switch w.Action {
	case Move:
	case Delete, Keep:
		if w.To != "" {
			return fmt.Errorf("to: %s knows no destination", w.Action)
		}
		return nil
	default:
		return fmt.Errorf("action: %q is none of move, delete, keep", w.Action)
	}
	var errs []error
	if w.To == "" {
		errs = append(errs, errors.New("to: move needs a destination"))
	}
	if strings.ContainsRune(w.To, 0) {
		errs = append(errs, errors.New("to: a path cannot hold a NUL"))
	}
	for rest := w.To; ; {
		_, after, ok := strings.Cut(rest, "{")
		if !ok {
			break
		}
		name, tail, ok := strings.Cut(after, "}")
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("to: a { without } in %q", w.To))
		case name == "name" && strings.Contains(tail, "/"):
			errs = append(errs, errors.New("to: {name} is for the last element only"))
		case name != "date" && name != "time" && name != "pipeline" && name != "name":
			errs = append(errs, fmt.Errorf("to: {%s} is none of {date} {time} {pipeline} {name}", name))
		}
		rest = tail
	}
	return errors.Join(errs...)
}

// isDir reports whether To names a directory.
func (w When) isDir() bool {
	return strings.HasSuffix(w.To, "/") || !strings.Contains(path.Base(w.To), "{name}")
}

// Fixed is the directory below which all destinations are: the leading
// elements of To that hold no placeholder, "." where there are none.
func (w When) Fixed() string {
	dir := w.To
	if !w.isDir() {
		dir, _ = path.Split(w.To)
	}
	if before, _, ok := strings.Cut(dir, "{"); ok {
		dir, _ = path.Split(before)
	}
	return path.Clean(dir)
}

// Destination says where the file called name goes that was found at the time
// at: a directory (relative to the source's path, or absolute) and a name in
// it. The directories in name are kept below To's.
func (w When) Destination(pipeline, name string, at time.Time) (dir, base string) {
	at = at.UTC()
	sub, base := path.Split(name)
	expand := strings.NewReplacer(
		"{date}", at.Format("2006-01-02"),
		"{time}", at.Format("150405"),
		"{pipeline}", strings.ReplaceAll(pipeline, "/", "_"),
		"{name}", base)
	if w.isDir() {
		return path.Join(expand.Replace(w.To), sub), base
	}
	dir, last := path.Split(w.To)
	return path.Join(expand.Replace(dir), sub), expand.Replace(last)
}
