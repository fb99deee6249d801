package webhook

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"
)

// open believes everybody.
type open struct{}

func (open) verify(*Message) (Proof, error) { return Proof{}, nil }

// login is a header that must be one text: basic (RFC 7617) and bearer
// (RFC 6750).
type login struct {
	scheme string // the word before the credentials, in lower case
	asks   string // WWW-Authenticate
	want   [sha256.Size]byte
}

func newBasic(o VerifyOptions) (scheme, error) {
	if o.User == "" || o.Password.IsZero() {
		return nil, errors.New("it needs a user and a password")
	}
	if strings.Contains(o.User, ":") {
		return nil, errors.New("a user's name holds no colon")
	}
	return login{"basic", `Basic realm="ingestd", charset="UTF-8"`, sha256.Sum256([]byte(o.User + ":" + o.Password.Reveal()))}, nil
}

func newBearer(o VerifyOptions) (scheme, error) {
	if o.Token.IsZero() {
		return nil, errors.New("it needs a token")
	}
	return login{"bearer", "Bearer", sha256.Sum256([]byte(o.Token.Reveal()))}, nil
}

func (l login) verify(m *Message) (Proof, error) {
	text, err := single(m.Header, "Authorization")
	if err != nil {
		return Proof{}, err
	}
	word, given, _ := strings.Cut(text, " ")
	if !strings.EqualFold(word, l.scheme) {
		return Proof{}, refused("its Authorization is not %s", l.scheme)
	}
	credentials := []byte(strings.TrimLeft(given, " "))
	if l.scheme == "basic" {
		if credentials, err = base64.StdEncoding.DecodeString(string(credentials)); err != nil {
			return Proof{}, refused("its Authorization is not base64")
		}
	}
	// Hashes are of one length: how much is right shows in no time.
	if got := sha256.Sum256(credentials); subtle.ConstantTimeCompare(got[:], l.want[:]) != 1 {
		return Proof{}, refused("its Authorization is another")
	}
	return Proof{}, nil
}
