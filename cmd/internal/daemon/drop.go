package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"

	"ingestd/config"
	"ingestd/ingest/admin"
	"ingestd/ingest/source/dir"
	"ingestd/ingest/source/sftpdrop"
	"ingestd/ingest/spool"
)

// newDropServer makes the drop server; it knows nobody until it is configured.
func (d *Daemon) newDropServer() *sftpdrop.Server {
	return sftpdrop.New(sftpdrop.Options{Logger: d.log, Full: d.lowDisk, Arrived: d.dropped})
}

// opened is the door that is open now, or nil.
func (d *Daemon) opened() *dropDoor {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.door
}

// enter puts a door in the place of the one that is open.
func (d *Daemon) enter(ctx context.Context, wg *sync.WaitGroup, door *dropDoor) error {
	now, err := door.enter(ctx, wg, d.drop, d.opened(), d.log)
	d.mu.Lock()
	d.door = now
	d.mu.Unlock()
	return err
}

// dropped is told of a file that a partner uploaded whole.
func (d *Daemon) dropped(user, name string) {
	for _, l := range d.current().lines {
		src := &l.cfg.Source
		if src.Type != "sftp_drop" || src.Drop.User != user {
			continue
		}
		if rel, ok := beneath(name, filepath.Clean(src.Drop.Path)); ok {
			if s, ok := l.source.(*dir.Source); ok {
				s.Hint(rel)
			}
		}
	}
}

// beneath returns name, relative to the folder, if it is in it.
func beneath(name, folder string) (string, bool) {
	if folder == "." {
		return name, true
	}
	return strings.CutPrefix(name, folder+"/")
}

// A dropDoor is the listener of the drop server that one config asks for.
type dropDoor struct {
	listen   string // "": none is asked for
	settings sftpdrop.Settings
	ln       net.Listener // nil: the one that is open already serves
	stop     context.CancelFunc
	done     chan struct{}
}

// openDoor makes all that can fail of what cfg asks of the drop server: keys
// and a listener, unless old has it open. Nothing is in force until enter.
func (d *Daemon) openDoor(ctx context.Context, cfg *config.Config, old *dropDoor) (*dropDoor, error) {
	if len(cfg.SFTPServer.Users) == 0 && !cfg.Given("sftp_server") {
		return &dropDoor{}, nil
	}
	door := &dropDoor{listen: cfg.SFTPServer.Listen}
	var err error
	if door.settings, err = dropSettings(cfg); err != nil {
		return nil, err
	}
	if old != nil && old.listen == door.listen {
		return door, nil
	}
	if door.ln, err = (&net.ListenConfig{}).Listen(ctx, "tcp", door.listen); err != nil {
		return nil, fmt.Errorf("sftp_server.listen: %w", err)
	}
	return door, nil
}

// dropSettings are what cfg says about the drop server.
func dropSettings(cfg *config.Config) (sftpdrop.Settings, error) {
	c := &cfg.SFTPServer
	s := sftpdrop.Settings{
		Users: dropUsers(cfg), MaxConnections: c.MaxConnections, MaxPerAddress: c.MaxPerAddress,
		IdleTimeout: c.IdleTimeout, KeepUnfinished: c.KeepUnfinished,
	}
	var err error
	s.HostKeys, err = sftpdrop.HostKeys(cfg.StateDir, c.HostKeyFile)
	return s, err
}

// dropUsers are the users of the drop server, with the folders that pipelines
// take up from.
func dropUsers(cfg *config.Config) []sftpdrop.User {
	out := make([]sftpdrop.User, len(cfg.SFTPServer.Users))
	for i := range cfg.SFTPServer.Users {
		u := &cfg.SFTPServer.Users[i]
		out[i] = sftpdrop.User{
			Name: u.Name, AuthorizedKeys: u.AuthorizedKeys, PasswordHash: u.PasswordHash, Home: u.Home, Names: u.Names,
			UploadOnly: u.UploadOnly, MaxConnections: u.MaxConnections, MaxOpenFiles: u.MaxOpenFiles, MaxFile: u.MaxFile, Quota: u.Quota,
		}
		for j := range cfg.Pipelines {
			p := &cfg.Pipelines[j]
			if p.Source.Type != "sftp_drop" || p.Source.Drop.User != u.Name {
				continue
			}
			out[i].Folders = append(out[i].Folders, filepath.Clean(p.Source.Drop.Path))
			if p.Receipt != nil {
				if rel, err := filepath.Rel(u.Home, p.Source.Resolve(p.Receipt.Dir)); err == nil && filepath.IsLocal(rel) {
					out[i].Readable = append(out[i].Readable, rel)
				}
			}
		}
	}
	return out
}

// enter puts the door's settings into force, serves its listener, and lets go
// of the one that old had, where it is another. It returns the door that is open
// now.
func (door *dropDoor) enter(ctx context.Context, wg *sync.WaitGroup, s *sftpdrop.Server, old *dropDoor, log *slog.Logger) (*dropDoor, error) {
	if door.listen != "" {
		if err := s.Configure(door.settings); err != nil {
			return old, err
		}
	}
	if door.listen != "" && door.ln == nil {
		now := *old // others may be looking at the old one
		now.settings = door.settings
		return &now, nil
	}
	if door.ln != nil {
		var serve context.Context
		serve, door.stop = context.WithCancel(ctx)
		door.done = make(chan struct{})
		wg.Go(func() {
			defer close(door.done)
			if err := s.Serve(serve, door.ln); err != nil && serve.Err() == nil {
				log.Error("the sftp server stopped answering", "error", err)
			}
		})
		prints := make([]string, len(door.settings.HostKeys))
		for i, k := range door.settings.HostKeys {
			prints[i] = sftpdrop.Fingerprint(k)
		}
		log.Info("sftp server listens", "address", door.ln.Addr().String(), "host_keys", strings.Join(prints, ", "), "users", len(door.settings.Users))
	}
	if old != nil {
		old.close()
	}
	return door, nil
}

// close stops serving; uploads under way have a few seconds.
func (door *dropDoor) close() {
	if door.stop != nil {
		door.stop()
		<-door.done
	}
}

// abandon lets go of a door that was never entered.
func (door *dropDoor) abandon() {
	if door.ln != nil {
		door.ln.Close()
	}
}

// makeDropFolders makes the folders of drop sources, which the server does
// where it runs.
func makeDropFolders(cfg *config.Config) error {
	for i := range cfg.Pipelines {
		if src := &cfg.Pipelines[i].Source; src.Type == "sftp_drop" {
			if err := spool.MakeDirs(src.Drop.Dir, 0o750); err != nil {
				return fmt.Errorf("make the folder of pipeline %s: %w", cfg.Pipelines[i].Name, err)
			}
		}
	}
	return nil
}

// status is what people are told about the drop server.
func (door *dropDoor) status(s *sftpdrop.Server) *admin.SFTPServerStatus {
	if door == nil || door.listen == "" {
		return nil
	}
	v := &admin.SFTPServerStatus{Listen: door.listen, Connections: s.Connections()}
	if door.ln != nil { // its port may have been the system's choice
		v.Listen = door.ln.Addr().String()
	}
	for _, k := range door.settings.HostKeys {
		v.HostKeys = append(v.HostKeys, sftpdrop.Fingerprint(k))
	}
	return v
}

// DropFingerprints are the host keys of the drop server that exist already, as
// clients show them, and as lines of known_hosts.
func DropFingerprints(cfg *config.Config) (prints, lines []string, err error) {
	keys, err := sftpdrop.KnownHostKeys(cfg.StateDir, cfg.SFTPServer.HostKeyFile)
	for _, k := range keys {
		prints = append(prints, sftpdrop.Fingerprint(k))
		lines = append(lines, sftpdrop.PublicLine(k))
	}
	return prints, lines, err
}

// MakeDropKeys makes the host keys of the drop server where they are absent.
func MakeDropKeys(cfg *config.Config) error {
	_, err := sftpdrop.HostKeys(cfg.StateDir, cfg.SFTPServer.HostKeyFile)
	return err
}

// HashPassword makes what `password_hash` takes.
func HashPassword(password []byte) (string, error) { return sftpdrop.HashPassword(password) }

// CheckKey says what is wrong with a line of `authorized_keys`.
func CheckKey(line string) error {
	u := sftpdrop.User{Name: "x", Home: "/x", AuthorizedKeys: []string{line}}
	return u.Check()
}
