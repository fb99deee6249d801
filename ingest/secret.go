package ingest

import "log/slog"

// A Secret prints as "<secret>" everywhere; Reveal hands it to who must use it.
type Secret struct{ s string }

// NewSecret wraps s.
func NewSecret(s string) Secret { return Secret{s} }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return s.s }

// IsZero reports whether nothing is set.
func (s Secret) IsZero() bool { return s.s == "" }

func (s Secret) String() string {
	if s.s == "" {
		return ""
	}
	return "<secret>"
}

// GoString keeps %#v from showing it.
func (s Secret) GoString() string { return s.String() }

// MarshalText keeps encoders from showing it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue keeps slog from showing it.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
