package sftp

import (
	"errors"
	"fmt"
	"net"
	"time"

	"ingestd/ingest"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// Auth is how to log in: every way that is given is offered, keys first.
type Auth struct {
	// Keys are private keys in OpenSSH's or PEM format; several while one is
	// rotated. They are offered in this order.
	Keys       []ingest.Secret
	Passphrase ingest.Secret // of those keys that are encrypted
	// Password is for password logins and for servers that ask for it
	// (keyboard-interactive).
	Password ingest.Secret
	Agent    string // the socket of an SSH agent; "": none
}

const (
	maxKeys     = 8                // servers count each key as a try
	agentWithin = 10 * time.Second // for an agent's answer
	maxAsked    = 4                // rounds of questions of keyboard-interactive
)

// ways are an Auth parsed.
type ways struct {
	signers  []ssh.Signer
	password ingest.Secret
	agent    string
	legacy   bool
}

func newWays(a Auth, legacy bool) (*ways, error) {
	w := &ways{password: a.Password, agent: a.Agent, legacy: legacy}
	if len(a.Keys) == 0 && a.Password.IsZero() && a.Agent == "" {
		return nil, errors.New("there is no way to log in: give private_key, password or agent")
	}
	if len(a.Keys) > maxKeys {
		return nil, fmt.Errorf("private_keys: more than %d; servers break off before they have seen as many", maxKeys)
	}
	var errs []error
	for i, k := range a.Keys {
		signer, err := parseKey(k, a.Passphrase)
		if err == nil {
			signer, err = w.modern(signer)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("private key %d: %w", i+1, err))
			continue
		}
		w.signers = append(w.signers, signer)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return w, nil
}

func parseKey(key, passphrase ingest.Secret) (ssh.Signer, error) {
	signer, err := ssh.ParsePrivateKey([]byte(key.Reveal()))
	var locked *ssh.PassphraseMissingError
	if !errors.As(err, &locked) {
		if err != nil {
			return nil, errors.New("is no private key in OpenSSH or PEM format")
		}
		return signer, nil
	}
	if passphrase.IsZero() {
		return nil, errors.New("is encrypted; give its passphrase")
	}
	signer, err = ssh.ParsePrivateKeyWithPassphrase([]byte(key.Reveal()), []byte(passphrase.Reveal()))
	if err != nil {
		return nil, errors.New("is encrypted, and the passphrase does not open it")
	}
	return signer, nil
}

// modern keeps an RSA key from signing with SHA-1, which the library falls back
// to where a server does not say what it takes.
func (w *ways) modern(s ssh.Signer) (ssh.Signer, error) {
	as, ok := s.(ssh.AlgorithmSigner)
	if w.legacy || !ok || s.PublicKey().Type() != ssh.KeyAlgoRSA {
		return s, nil
	}
	return ssh.NewSignerWithAlgorithms(as, []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256})
}

// methods are what is offered to one server. done is called after the login.
func (w *ways) methods() (m []ssh.AuthMethod, done func(), err error) {
	done = func() {}
	signers := w.signers
	if w.agent != "" {
		c, err := net.DialTimeout("unix", w.agent, agentWithin)
		if err != nil {
			return nil, done, fmt.Errorf("ask the SSH agent: %w", err)
		}
		done = func() { c.Close() }
		c.SetDeadline(time.Now().Add(agentWithin))
		theirs, err := agent.NewClient(c).Signers()
		if err != nil {
			done()
			return nil, func() {}, fmt.Errorf("ask the SSH agent for its keys: %w", err)
		}
		c.SetDeadline(time.Now().Add(dialWithin))
		for _, s := range theirs {
			if s, err := w.modern(s); err == nil && len(signers) < maxKeys {
				signers = append(signers[:len(signers):len(signers)], s)
			}
		}
	}
	if len(signers) > 0 {
		m = append(m, ssh.PublicKeys(signers...))
	}
	if !w.password.IsZero() {
		m = append(m, ssh.Password(w.password.Reveal()), ssh.KeyboardInteractive(w.answer()))
	}
	return m, done, nil
}

// A questionError says that a server asked for what nobody here can answer.
type questionError struct{ what string }

func (e *questionError) Error() string { return e.what }

// answer gives the password to whoever asks for something that is not to be
// seen, once: a server that asks again did not like it.
func (w *ways) answer() ssh.KeyboardInteractiveChallenge {
	rounds, given := 0, false
	return func(_, _ string, questions []string, echos []bool) ([]string, error) {
		if rounds++; rounds > maxAsked {
			return nil, &questionError{"the server asks too many questions"}
		}
		answers := make([]string, len(questions))
		for i := range questions {
			if echos[i] {
				return nil, &questionError{fmt.Sprintf("the server asks %.100q, and only a password can be given", questions[i])}
			}
			if given {
				return nil, &questionError{"the server asks for more than a password, or for another one"}
			}
			given = true
			answers[i] = w.password.Reveal()
		}
		return answers, nil
	}
}
