package ingest

import "time"

// An Event is what is known of a request that was received, beside its body.
// Secrets are left out of it: credentials and signatures are not kept.
type Event struct {
	At          time.Time         `json:"at"`
	Method      string            `json:"method"`
	Suffix      string            `json:"suffix,omitempty"` // the path behind the hook's own
	Query       string            `json:"query,omitempty"`
	Remote      string            `json:"remote,omitempty"` // the sender's address
	Header      map[string]string `json:"headers,omitempty"`
	ContentType string            `json:"content_type,omitempty"` // of the body as it is stored
	Name        string            `json:"name,omitempty"`         // of a file in a multipart body
	ID          string            `json:"id,omitempty"`           // what the sender calls it
	// Marks make a repeat: one of them is enough. Base64 of 16 bytes each.
	Marks [][]byte `json:"marks,omitempty"`
}
