package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"ingestd/ingest"
)

// A veil hides the values that ${…} brought in, where they stand in settings
// that are stored: each becomes its fingerprint. The values themselves stay
// with the config.
type veil struct{ values []string } // the longest first

// minVeiled is the shortest value that is hidden: a shorter one (a port, a
// tenant) would be found where it is not meant.
const minVeiled = 8

// newVeil makes a veil over values.
func newVeil(brought map[string]bool) *veil {
	v := &veil{}
	for s := range brought {
		if len(s) >= minVeiled {
			v.values = append(v.values, s)
		}
	}
	slices.SortFunc(v.values, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	return v
}

func printOf(value string) string {
	sum := sha256.Sum256([]byte(value))
	return "${sha256:" + hex.EncodeToString(sum[:8]) + "}"
}

func (v *veil) hide(s string) string {
	if v == nil {
		return s
	}
	for _, value := range v.values {
		s = strings.ReplaceAll(s, value, printOf(value))
	}
	return s
}

func (v *veil) reveal(s string) (string, error) {
	var lost bool
	s = regexp.MustCompile(`\$\{sha256:[0-9a-f]{16}\}`).ReplaceAllStringFunc(s, func(ref string) string {
		if v != nil {
			for _, value := range v.values {
				if printOf(value) == ref {
					return value
				}
			}
		}
		lost = true
		return ref
	})
	if lost {
		return "", errors.New("a value that ${…} brought into its template has changed since")
	}
	return s, nil
}

// Brought are the values that ${env:…}, ${file:…} and ${credential:…} brought
// into the config, to be cut out of whatever a sink's requests lead to. Very
// short ones are left out, and mere addresses: nobody could tell what failed.
func (s *Sink) Brought() []ingest.Secret {
	var out []ingest.Secret
	if s.veil == nil {
		return out
	}
	for _, v := range s.veil.values {
		if u, err := url.Parse(v); err == nil && u.Host != "" && u.User == nil && strings.Trim(u.Path, "/") == "" && u.RawQuery == "" {
			continue
		}
		out = append(out, ingest.NewSecret(v))
	}
	return out
}

// Unveil puts the values that a snapshot hides back into its sinks' settings.
func (c *Config) Unveil(settings []SinkSettings) error {
	for i := range settings {
		t, err := c.veil.reveal(settings[i].Template)
		if err != nil {
			return fmt.Errorf("sink %s: %w", settings[i].Name, err)
		}
		settings[i].Template = t
	}
	return nil
}
