package ingest

import (
	"fmt"
	"strings"
)

// A HostKeyError says that a server showed a key that is not one of those that
// are pinned for it, and that nothing was sent to it or read from it. Somebody
// may stand in between, or the server has a new key.
type HostKeyError struct {
	Host    string   // host:port
	Got     string   // "ssh-ed25519 SHA256:…": type and fingerprint of the key that was shown
	Want    []string // the same of the pinned ones; empty: none is known for this host
	Revoked bool     // the key is marked as revoked
	Reason  string   // what is wrong with it, where it is a host certificate
}

func (e *HostKeyError) Error() string {
	const ask = "ask the server's owner for the fingerprint by another way than this one"
	switch {
	case e.Revoked:
		return fmt.Sprintf("host key of %s: %s is revoked; nothing was read", e.Host, e.Got)
	case e.Reason != "":
		return fmt.Sprintf("host key of %s: %s: %s; nothing was read", e.Host, e.Got, e.Reason)
	case len(e.Want) == 0:
		return fmt.Sprintf("host key of %s is unknown: it shows %s; nothing was read; %s, then pin it (ingestd sftp trust %s prints the lines)",
			e.Host, e.Got, ask, e.Host)
	}
	return fmt.Sprintf("host key of %s has changed: it shows %s, pinned is %s; nothing was read; %s, and change host_keys only if it is the same",
		e.Host, e.Got, strings.Join(e.Want, ", "), ask)
}

// As makes it a Trouble, so that alerts are told of it as what it is.
func (e *HostKeyError) As(target any) bool {
	t, ok := target.(**Trouble)
	if ok {
		*t = &Trouble{Kind: TroubleHostKey, Err: e}
	}
	return ok
}
