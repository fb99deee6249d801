package sftpdrop

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"ingestd/ingest"
	"ingestd/ingest/source"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/ssh"
)

// A User is a partner.
type User struct {
	Name string
	// AuthorizedKeys are lines as in OpenSSH's file of that name. Either these or
	// the password lets the user in.
	AuthorizedKeys []string
	PasswordHash   ingest.Secret // bcrypt
	Home           string        // an absolute path; the user's /
	// Names are globs that the names of new files must match, beside those of
	// temporary files; ASCII case is ignored. Empty: every name.
	Names          []string
	UploadOnly     bool  // no file can be read, but for those in Readable
	MaxConnections int   // 0: 32
	MaxOpenFiles   int   // in all connections; 0: 128
	MaxFile        int64 // bytes of one file; 0: 10 GiB
	Quota          int64 // bytes in the user's view; 0: none
	// Folders are taken up from: relative to Home. They are made where absent,
	// and the user cannot remove or rename them.
	Folders  []string
	Readable []string // folders whose files can be read despite UploadOnly
}

const (
	minRSABits  = 2048
	maxPassword = 72 // bytes: bcrypt sees no more
	minCost     = 10
	maxCost     = 15 // seconds
	hashCost    = 12
)

// A user is a User made ready.
type user struct {
	User
	keys [][]byte // in wire format
	home *home

	mu    sync.Mutex
	conns int
	files int
}

// Check returns everything that is wrong with u, joined, each beginning with
// the name of the setting.
func (u *User) Check() error {
	_, err := newUser(u)
	return err
}

func newUser(c *User) (*user, error) {
	u := &user{User: *c}
	var errs []error
	for i, line := range c.AuthorizedKeys {
		key, err := parseKey(line)
		if err != nil {
			errs = append(errs, fmt.Errorf("authorized_keys: key %d %w", i+1, err))
			continue
		}
		u.keys = append(u.keys, key.Marshal())
	}
	if !c.PasswordHash.IsZero() {
		switch cost, err := bcrypt.Cost([]byte(c.PasswordHash.Reveal())); {
		case err != nil:
			errs = append(errs, errors.New("password_hash: it is no bcrypt hash; `ingestd hash-password` makes one"))
		case cost < minCost || cost > maxCost:
			errs = append(errs, fmt.Errorf("password_hash: it has cost %d; %d to %d is allowed, `ingestd hash-password` makes one", cost, minCost, maxCost))
		}
	}
	if len(u.keys) == 0 && c.PasswordHash.IsZero() && len(errs) == 0 {
		errs = append(errs, errors.New("needs authorized_keys or password_hash"))
	}
	if !filepath.IsAbs(c.Home) || filepath.Clean(c.Home) == "/" {
		errs = append(errs, fmt.Errorf("home: %q must be an absolute path, and not /", c.Home))
	}
	u.Home = filepath.Clean(c.Home)
	for _, g := range c.Names {
		if g == "" || !doublestar.ValidatePattern(g) {
			errs = append(errs, fmt.Errorf("names: %q is no glob", g))
		}
	}
	for i, d := range c.Folders {
		rel, err := judge("/" + d)
		if err != nil {
			errs = append(errs, fmt.Errorf("folder %q cannot be in a home: %w", d, err))
			continue
		}
		u.Folders = append(u.Folders[:i:i], rel)
	}
	if u.MaxConnections <= 0 {
		u.MaxConnections = 32
	}
	if u.MaxOpenFiles <= 0 {
		u.MaxOpenFiles = 128
	}
	if u.MaxFile <= 0 {
		u.MaxFile = 10 << 30
	}
	return u, errors.Join(errs...)
}

// parseKey reads one line of authorized_keys. Options that would restrict the
// key are not known here, and must not be passed over in silence.
func parseKey(line string) (ssh.PublicKey, error) {
	key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	switch {
	case err != nil:
		return nil, errors.New(`is no public key; write it as in "ssh-ed25519 AAAA… name"`)
	case len(strings.TrimSpace(string(rest))) > 0:
		return nil, errors.New("has a second line; each key is an item of its own")
	}
	for _, o := range options {
		if o != "restrict" && !strings.HasPrefix(o, "no-") {
			name, _, _ := strings.Cut(o, "=")
			return nil, fmt.Errorf("has the option %q, which this server does not know", name)
		}
	}
	switch t := key.Type(); t {
	case ssh.KeyAlgoRSA:
		if bits := rsaBits(key); bits < minRSABits {
			return nil, fmt.Errorf("is an RSA key of %d bits; at least %d are asked for", bits, minRSABits)
		}
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
	default:
		return nil, fmt.Errorf("is of type %s, which is not taken", t)
	}
	return key, nil
}

// holds reports whether a key is one of the user's.
func (u *user) holds(key ssh.PublicKey) bool {
	wire, found := key.Marshal(), 0
	for _, k := range u.keys {
		found |= subtle.ConstantTimeCompare(k, wire)
	}
	return found == 1
}

// stillAdmits reports whether now, the same user after a reload, would let in
// who came with credential, to the same place.
func (u *user) stillAdmits(now *user, credential string) bool {
	if now == nil || now.Home != u.Home {
		return false
	}
	if hash, ok := strings.CutPrefix(credential, passwordCredential); ok {
		return hash == now.PasswordHash.Reveal()
	}
	for _, k := range now.keys {
		if string(k) == credential {
			return true
		}
	}
	return false
}

const passwordCredential = "password "

// admits reports whether the user may make a file of this name.
func (u *user) admits(name string) bool {
	if len(u.Names) == 0 {
		return true
	}
	base := lower(path.Base(name))
	for _, globs := range [][]string{u.Names, source.DefaultIgnore()} {
		for _, g := range globs {
			s := base
			if strings.Contains(g, "/") {
				s = lower(name)
			}
			if doublestar.MatchUnvalidated(lower(g), s) {
				return true
			}
		}
	}
	return false
}

// fixed reports whether name is one of the user's folders, or above one.
func (u *user) fixed(name string) bool {
	for _, f := range u.Folders {
		if name == f || strings.HasPrefix(f, name+"/") {
			return true
		}
	}
	return false
}

// readable reports whether the user may read the file.
func (u *user) readable(name string) bool {
	if !u.UploadOnly {
		return true
	}
	for _, d := range u.Readable {
		if strings.HasPrefix(name, strings.Trim(d, "/")+"/") {
			return true
		}
	}
	return false
}

// take counts a connection or a file, if there may be one more.
func (u *user) take(n *int, most int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if *n >= most {
		return false
	}
	*n++
	return true
}

func (u *user) give(n *int) {
	u.mu.Lock()
	*n--
	u.mu.Unlock()
}

// HashPassword makes what password_hash takes.
func HashPassword(password []byte) (string, error) {
	switch {
	case len(password) == 0:
		return "", errors.New("the password is empty")
	case len(password) > maxPassword:
		return "", fmt.Errorf("the password has %d bytes; bcrypt sees %d at most", len(password), maxPassword)
	}
	hash, err := bcrypt.GenerateFromPassword(password, hashCost)
	return string(hash), err
}

// lower maps ASCII capitals to small letters.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
