package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"ingestd/config"
	"ingestd/ingest"
	"ingestd/ingest/source"
	"ingestd/ingest/source/sftp"
	"ingestd/ingest/spool"
)

// newSFTP makes a source that polls a partner's server.
func newSFTP(conf *config.Config, p *config.Pipeline, known func(string) bool, sp *spool.Spool, log *slog.Logger, state func(error)) (*sftp.Source, error) {
	s := &p.Source.SFTP
	spec, err := formatSpec(p)
	if err != nil {
		return nil, err
	}
	o := sftp.Options{
		Pipeline:    p.Name,
		Server:      sftpServer(&s.SFTPHost),
		Path:        s.Path,
		Rules:       rules(&s.Watch),
		Known:       known,
		Trailer:     spec.trailer(),
		Poll:        s.Poll,
		Concurrency: s.Concurrency,
		Mailbox:     s.Mailbox,
		WhenDone:    source.When{Action: s.WhenDone.Action, To: s.WhenDone.To},
		WhenFailed:  source.When{Action: s.WhenFailed.Action, To: s.WhenFailed.To},
		Spool:       sp,
		Room:        func(size int64) error { return room(conf, size) },
		Spare:       func() bool { return spare(conf.StateDir, conf.MinFree.Of) },
		Logger:      log,
		OnState:     state,
	}
	o.Server.Timeout = s.Timeout
	if p.Receipt != nil {
		o.Reports = p.Source.Resolve(p.Receipt.Dir)
	}
	if s.Jump != nil {
		jump := sftpServer(s.Jump)
		o.Server.Jump = &jump
	}
	if s.Schedule != nil {
		sched, err := newSchedule(s.Schedule)
		if err != nil {
			return nil, fmt.Errorf("schedule: %w", err)
		}
		o.Next, o.Stamp = sched.Next, stampPath(conf.StateDir, p.Name)
	}
	return sftp.New(o)
}

// stampPath is the file whose mtime says when a pipeline's folder was listed.
func stampPath(stateDir, pipeline string) string {
	sum := sha256.Sum256([]byte(pipeline))
	return filepath.Join(stateDir, "listed-"+hex.EncodeToString(sum[:8]))
}

func sftpServer(h *config.SFTPHost) sftp.Server {
	auth := sftp.Auth{
		Keys: h.Auth.PrivateKeys, Passphrase: h.Auth.Passphrase, Password: h.Auth.Password, Agent: h.Auth.Agent,
	}
	if !h.Auth.PrivateKey.IsZero() {
		auth.Keys = append([]ingest.Secret{h.Auth.PrivateKey}, auth.Keys...)
	}
	return sftp.Server{
		Host: h.Host, User: h.User, Auth: auth, Legacy: h.Legacy,
		Pins: sftp.Pins{Keys: h.HostKeys, File: h.KnownHosts},
	}
}

// room says why size more bytes do not fit into the state directory.
func room(conf *config.Config, size int64) error {
	free, total, err := spool.Free(conf.StateDir)
	if err != nil {
		return err
	}
	if least := conf.MinFree.Of(total); free < least+uint64(max(size, 0)) {
		return fmt.Errorf("%d bytes do not fit into %s now: %d are free, and min_free keeps %d", size, conf.StateDir, free, least)
	}
	return nil
}

// trySFTP makes sure that a server lets the source do its work, and says what
// could not be found out.
func trySFTP(ctx context.Context, conf *config.Config, p *config.Pipeline) (note string, err error) {
	s, err := newSFTP(conf, p, nil, nil, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return "", err
	}
	defer s.Close()
	notes, err := s.Probe(ctx)
	return strings.Join(notes, "; "), err
}

// A HostKey is a key that an SSH server shows.
type HostKey = sftp.HostKey

// HostKeys asks an SSH server at host or host:port for its host keys.
func HostKeys(ctx context.Context, host string) ([]HostKey, error) { return sftp.HostKeys(ctx, host) }
