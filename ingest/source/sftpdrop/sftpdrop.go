// Package sftpdrop is the SFTP server that partners upload to.
//
// It promises:
//
//   - An upload is whole when the client closed it and no byte is missing. Until
//     then its bytes stand under .ingestd/uploads of the user's home, where no
//     source looks; at the close they are fsynced and renamed to their name in
//     one step, and that is on disk before the close is answered. So whatever
//     stands under its own name is whole, also after a crash at any instant, and
//     a folder with a settle of zero may take it up at once.
//   - An upload that was broken off stays: the partner sees it under its own
//     name, with the length that came without a gap, and can go on from there.
//     It is removed when nobody did for as long as Settings.KeepUnfinished.
//   - As long as a file is in the partner's view it is the partner's: another
//     upload or a rename may replace it, and it may be removed. What was taken
//     up has left the view, and nothing that a partner does reaches it.
//   - Of two who write the same name the one who opened it last wins; the other's
//     writes and its close fail.
//   - A partner sees its home and nothing else. A path is walked one element at
//     a time and never through a link, which is stricter than os.Root, where
//     links may stay inside; links cannot be made. Names that begin with
//     .ingestd are not there, whatever their case.
//   - There is SFTP and nothing beside it: no shell, no commands, no forwarding.
//   - Everything is bounded: connections in all, by address and by user, time to
//     log in, idle time, open files, names, sizes, listings. Failed logins are
//     answered later and later.
//   - Names and texts of others are quoted in logs; no secret is logged.
package sftpdrop

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// Options are what a Server is made of, for its whole life.
type Options struct {
	Logger *slog.Logger // nil: none
	// Full says why no upload can be taken now, or "": the disk is nearly full.
	// It is asked often. Nil: never.
	Full func() string
	// Arrived hears of a file that stands whole under its name, relative to the
	// user's home, from now on. It must not wait. Nil: nobody.
	Arrived func(user, name string)
}

// Settings are what a reload may change.
type Settings struct {
	HostKeys       []ssh.Signer
	Users          []User
	MaxConnections int           // in all; 0: 256
	MaxPerAddress  int           // 0: 32
	IdleTimeout    time.Duration // 0: 15 min
	KeepUnfinished time.Duration // broken uploads; 0: 7 days
}

// Bounds that nobody needs to change.
const (
	loginWithin   = 30 * time.Second // handshake and login
	maxUnknown    = 64               // connections that have not logged in
	maxAuthTries  = 6
	maxChannels   = 4                // SFTP sessions in one connection
	writeWithin   = 60 * time.Second // a client that takes no bytes
	stopWithin    = 3 * time.Second  // uploads under way at a stop
	expireEvery   = time.Hour
	quietAtStop   = 300 * time.Millisecond
	stopLookEvery = 50 * time.Millisecond
)

// A Server is the drop server. Configure gives it users and may be called at
// any time; Serve answers on a listener.
type Server struct {
	o   Options
	log *slog.Logger

	conf  atomic.Pointer[settings]
	guard *guard
	login time.Duration // loginWithin, but for tests

	mu    sync.Mutex
	homes map[string]*home // by path
	conns map[*conn]struct{}
}

// settings are Settings made ready.
type settings struct {
	Settings
	users map[string]*user
	ssh   *ssh.ServerConfig // without callbacks, which are the connection's
}

// New makes a server that knows nobody.
func New(o Options) *Server {
	s := &Server{
		o:     o,
		log:   cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
		guard: newGuard(time.Now),
		login: loginWithin,
		homes: map[string]*home{},
		conns: map[*conn]struct{}{},
	}
	s.conf.Store(&settings{users: map[string]*user{}})
	return s
}

// Configure puts settings into force and makes the homes and folders that they
// name. Connections whose user is gone, or who would not get in the same way
// any more, are closed. It returns all that is wrong with the settings, joined,
// and then changes nothing; a home that cannot be made keeps out its users only
// and is logged.
func (s *Server) Configure(n Settings) error {
	n.MaxConnections = cmp.Or(n.MaxConnections, 256)
	n.MaxPerAddress = cmp.Or(n.MaxPerAddress, 32)
	n.IdleTimeout = cmp.Or(n.IdleTimeout, 15*time.Minute)
	n.KeepUnfinished = cmp.Or(n.KeepUnfinished, 7*24*time.Hour)
	c := &settings{Settings: n, users: map[string]*user{}, ssh: s.serverConfig(n.HostKeys)}
	var errs []error
	if len(n.HostKeys) == 0 {
		errs = append(errs, errors.New("sftp server: there is no host key"))
	}
	for i := range n.Users {
		u, err := newUser(&n.Users[i])
		if err != nil {
			errs = append(errs, fmt.Errorf("user %s: %w", n.Users[i].Name, err))
			continue
		}
		c.users[u.Name] = u
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	s.mu.Lock()
	for _, u := range c.users {
		if s.homes[u.Home] == nil {
			s.homes[u.Home] = newHome(u.Home, s.log)
		}
		u.home = s.homes[u.Home]
	}
	s.conf.Store(c)
	for k := range s.conns {
		if k.user != nil && !k.user.stillAdmits(c.users[k.user.Name], k.credential) {
			s.log.Info("sftp connection closed: its user changed", "user", k.user.Name, "address", k.addr)
			k.net.Close()
		}
	}
	s.mu.Unlock()
	for _, u := range c.users {
		if err := u.home.open(u.Folders); err != nil {
			s.log.Error("a home of the sftp server cannot be used; its users are refused until it can", "user", u.Name, "error", err)
		}
	}
	s.expire()
	return nil
}

// expire removes what was broken off long ago.
func (s *Server) expire() {
	keep := s.conf.Load().KeepUnfinished
	s.mu.Lock()
	homes := make([]*home, 0, len(s.homes))
	for _, h := range s.homes {
		homes = append(homes, h)
	}
	s.mu.Unlock()
	for _, h := range homes {
		h.expire(time.Now().Add(-keep))
	}
}

// Connections is how many connections there are, logged in or not.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *Server) full() string {
	if s.o.Full == nil {
		return ""
	}
	return s.o.Full()
}

func (s *Server) serverConfig(keys []ssh.Signer) *ssh.ServerConfig {
	// What the library deems secure today: no SHA-1, no CBC.
	a := ssh.SupportedAlgorithms()
	c := &ssh.ServerConfig{
		Config:                  ssh.Config{KeyExchanges: a.KeyExchanges, Ciphers: a.Ciphers, MACs: a.MACs},
		PublicKeyAuthAlgorithms: a.PublicKeyAuths,
		MaxAuthTries:            maxAuthTries,
		ServerVersion:           "SSH-2.0-ingestd",
	}
	for _, k := range keys {
		c.AddHostKey(k)
	}
	return c
}

// hostOf is the address without its port.
func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}
