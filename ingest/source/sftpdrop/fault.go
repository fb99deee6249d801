package sftpdrop

import (
	"errors"
	"io/fs"
	"syscall"

	"ingestd/ingest/spool"

	"github.com/pkg/sftp"
	"golang.org/x/sys/unix"
)

// A fault is an answer to a client: a status of the protocol with words. It
// never tells where on this machine something is.
type fault struct {
	status error
	text   string
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.status }

// The answers that have no words of their own.
var (
	errNone   = &fault{sftp.ErrSSHFxNoSuchFile, "no such file"}
	errDenied = &fault{sftp.ErrSSHFxPermissionDenied, "permission denied"}
	errExists = &fault{sftp.ErrSSHFxFailure, "a file of this name is there"}
)

func refuse(text string) error { return &fault{sftp.ErrSSHFxPermissionDenied, text} }
func fail(text string) error   { return &fault{sftp.ErrSSHFxFailure, text} }

// answer makes of an error of this machine what a client may know.
func answer(err error) error {
	var f *fault
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f):
		return f
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return errNone
	case errors.Is(err, spool.ErrIrregular), errors.Is(err, unix.ELOOP), errors.Is(err, fs.ErrPermission):
		return errDenied
	case errors.Is(err, fs.ErrExist):
		return errExists
	case errors.Is(err, unix.ENOTEMPTY):
		return fail("the folder is not empty")
	case errors.Is(err, unix.EISDIR):
		return fail("it is a folder")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fail("the server's disk is full")
	}
	return fail("the server could not do it")
}

// expected reports whether an error is the client's own doing, which the
// server's log need not hear of.
func expected(err error) bool {
	var f *fault
	return errors.As(err, &f) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) ||
		errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EISDIR)
}
