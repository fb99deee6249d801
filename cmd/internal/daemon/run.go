package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ingestd/config"
	"ingestd/ingest/admin"
)

const (
	// answerGrace is how long requests to the admin API may take when it closes.
	answerGrace = time.Second
	// pinged is how soon the ledger must commit for the watchdog to be told.
	pinged = 5 * time.Second
)

// A reloadRequest asks the running daemon to read its config again.
type reloadRequest struct {
	done chan<- error
}

// Run runs until ctx ends, and then returns nil within ten seconds: what is in
// flight may finish, the rest goes on after the next start. What comes over hup
// makes it read its config again. Any other end is an error: the ledger broke.
func (d *Daemon) Run(ctx context.Context, hup <-chan os.Signal) error {
	ctx, stop := context.WithCancelCause(ctx)
	var side sync.WaitGroup // what serves the engines; it outlives them
	sideCtx, sideStop := context.WithCancel(context.WithoutCancel(ctx))
	defer side.Wait()
	defer sideStop()
	defer stop(nil) // listeners that were opened before something else failed

	if err := d.serveControl(sideCtx, &side); err != nil {
		return err
	}
	front, err := d.openFront(ctx, d.current().cfg)
	if err != nil {
		return err
	}
	front.serve(sideCtx, &side, d.log)
	door, err := d.openDoor(ctx, d.current().cfg, nil)
	if err != nil {
		return err
	}
	if err := d.enter(ctx, &side, door); err != nil {
		door.abandon()
		return err
	}
	gate, err := d.openGate(ctx, d.current().cfg)
	if err != nil {
		return err
	}
	if err := d.route(ctx, gate, d.current()); err != nil {
		gate.close()
		return err
	}
	if err := d.current().engage(engagement{}); err != nil {
		return err
	}
	if err := d.pauseLines(ctx); err != nil {
		return err
	}
	d.startDisk(sideCtx, &side, d.current())
	d.admit(ctx, &side, gate)
	side.Go(func() { d.pruner.run(sideCtx) })
	side.Go(func() { d.tell(sideCtx) })
	side.Go(func() { d.heart.Run(sideCtx) })
	side.Go(func() { d.sd.watchdog(sideCtx, d.alive) })
	side.Go(func() { d.sd.report(sideCtx, d.summary) })
	side.Go(func() {
		select {
		case <-d.ledger.Broken():
			stop(fmt.Errorf("the ledger broke: %w", d.ledger.Err()))
		case <-sideCtx.Done():
		}
	})
	d.setRunning(true)
	defer d.setRunning(false)
	d.sd.ready(d.summary(ctx))
	d.log.Info("running", "version", d.o.Version, "pid", os.Getpid(), "state_dir", d.o.Config.StateDir,
		"pipelines", len(d.current().lines), "admin", front.addr())

	s := &shift{d: d, hup: hup, front: front, gate: gate, ctx: ctx, sideCtx: sideCtx, side: &side}
	for {
		again, err := s.work(ctx)
		if again {
			continue
		}
		if lerr := d.ledger.Err(); lerr != nil {
			return fmt.Errorf("the ledger broke; a restart reads it again: %w", lerr)
		}
		if err == nil {
			d.log.Info("stopped")
		}
		return err
	}
}

// A shift is one crew at work, and what a reload has to put in place.
type shift struct {
	d       *Daemon
	hup     <-chan os.Signal
	front   *front
	gate    *gate           // nil: no pipeline is called
	ctx     context.Context // ends when the daemon is to stop
	sideCtx context.Context
	side    *sync.WaitGroup
}

// work lets the current crew work until ctx ends or a reload brings another;
// then again is true.
func (s *shift) work(ctx context.Context) (again bool, err error) {
	d, crew := s.d, s.d.current()
	workCtx, rest := context.WithCancel(ctx)
	defer rest()
	done := make(chan error, 1)
	go func() { done <- crew.run(workCtx, nil) }()
	for {
		var answer chan<- error
		select {
		case err := <-done:
			return false, err
		case <-ctx.Done():
			d.sd.stopping("finishing what is in flight")
			d.log.Info("stopping", "cause", context.Cause(ctx))
			if err = <-done; errors.Is(err, errNotStopped) {
				d.log.Error("stopping", "error", err)
				err = nil
			}
			return false, err
		case <-s.hup:
		case r := <-d.reload:
			answer = r.done
		}
		d.sd.reloading()
		next, newFront, err := d.prepare(ctx, s.front.listen)
		var door *dropDoor
		if err == nil {
			if door, err = d.openDoor(ctx, next.cfg, d.opened()); err != nil {
				err = errors.Join(err, next.close())
				newFront.abandon()
			}
		}
		var newGate *gate
		if err == nil {
			if newGate, err = s.nextGate(ctx, next); err != nil {
				newFront.abandon()
				door.abandon()
			}
		}
		if err != nil {
			d.metrics.Reloaded(false)
			d.log.Error("the new config was refused; the old one goes on", "error", err)
			d.sd.ready(d.summary(ctx))
			if answer != nil {
				answer <- err
			}
			continue
		}
		// Nothing can fail from here on. The old engines finish what is in
		// flight; the new ones go on with the rest.
		rest()
		err = <-done
		if err != nil {
			if answer != nil {
				answer <- err
			}
			door.abandon()
			return false, errors.Join(err, next.close())
		}
		old := s.front
		d.take(next)
		old.admit(next.cfg, d.handler)
		if newFront != nil {
			s.front = newFront
			newFront.serve(s.sideCtx, s.side, d.log)
		}
		if err := d.enter(ctx, s.side, door); err != nil {
			d.log.Error("the sftp server goes on under the old config", "error", err)
			door.abandon()
		}
		s.swapGate(newGate, next)
		d.startDisk(s.sideCtx, s.side, next)
		if err := crew.close(); err != nil {
			d.log.Warn("old sinks did not close", "error", err)
		}
		d.metrics.Reloaded(true)
		d.log.Info("the config was reloaded", "pipelines", len(next.lines))
		d.sd.ready(d.summary(ctx))
		if answer != nil {
			answer <- nil
		}
		if newFront != nil {
			old.close()
		}
		return true, nil
	}
}

// prepare makes all that a new config needs, while the old one works. The front
// is nil where the admin listener stays where it is.
func (d *Daemon) prepare(ctx context.Context, listen string) (*crew, *front, error) {
	if d.o.Load == nil {
		return nil, nil, errors.New("this process cannot reload")
	}
	cfg, problems := d.o.Load()
	if cfg == nil {
		return nil, nil, problems.Err()
	}
	for _, w := range problems.Warnings() {
		d.log.Warn("config", "problem", w.Error())
	}
	if cfg.StateDir != d.o.Config.StateDir {
		return nil, nil, fmt.Errorf("state_dir cannot change while the daemon runs: it is %s; restart for %s", d.o.Config.StateDir, cfg.StateDir)
	}
	next, err := d.newCrew(cfg)
	if err != nil {
		return nil, nil, err
	}
	if err := next.engage(engagement{}); err != nil {
		return nil, nil, errors.Join(err, next.close())
	}
	if cfg.Admin.Listen == listen {
		return next, nil, nil
	}
	f, err := d.openFront(ctx, cfg)
	if err != nil {
		return nil, nil, errors.Join(err, next.close())
	}
	return next, f, nil
}

// take makes next the current crew.
func (d *Daemon) take(next *crew) {
	next.reserve()
	d.setKeeps(next.cfg)
	d.metrics.Configure(names(next.cfg))
	d.pruner.setKeep(next.cfg.Retention)
	d.configureTellers(next)
	d.mu.Lock()
	old := d.crew
	d.crew = next
	d.mu.Unlock()
	for _, l := range next.lines {
		if was := old.line(l.cfg.Name); was != nil {
			l.inherit(was)
		}
		d.pauseSinks(l.engine.Load())
	}
}

func (d *Daemon) setRunning(on bool) {
	d.mu.Lock()
	d.running = on
	d.mu.Unlock()
}

// serveControl answers on the control socket until ctx ends.
func (d *Daemon) serveControl(ctx context.Context, wg *sync.WaitGroup) error {
	ln, err := admin.ListenUnix(ctx, d.socket())
	if err != nil {
		return err
	}
	wg.Go(func() {
		if err := admin.Serve(ctx, ln, d.handler, answerGrace, d.log); err != nil && ctx.Err() == nil {
			d.log.Error("the control socket stopped answering", "error", err)
		}
	})
	return nil
}

// A front is the admin listener that the config asks for.
type front struct {
	listen  string
	ln      net.Listener // nil: there is none
	handler atomic.Pointer[http.Handler]
	stop    context.CancelFunc
	done    chan struct{}
}

// openFront opens the admin listener. The default one, which nobody asked for,
// may be missing: two daemons on one machine both would want it.
func (d *Daemon) openFront(ctx context.Context, cfg *config.Config) (*front, error) {
	f := &front{listen: cfg.Admin.Listen, done: make(chan struct{})}
	f.admit(cfg, d.handler)
	ln, err := admin.Listen(ctx, f.listen)
	switch {
	case err == nil:
		f.ln = ln
	case cfg.Given("admin"):
		return nil, err
	default:
		d.log.Warn("no admin listener: set admin.listen to have one", "error", err)
	}
	return f, nil
}

// admit puts the guard that cfg asks for before h.
func (f *front) admit(cfg *config.Config, h http.Handler) {
	if !strings.HasPrefix(f.listen, "unix:") || !cfg.Admin.Token.IsZero() {
		h = admin.Guard(cfg.Admin.Token, h)
	}
	f.handler.Store(&h)
}

// serve answers until ctx ends or close is called.
func (f *front) serve(ctx context.Context, wg *sync.WaitGroup, log *slog.Logger) {
	if f.ln == nil {
		close(f.done)
		f.stop = func() {}
		return
	}
	ctx, f.stop = context.WithCancel(ctx)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*f.handler.Load()).ServeHTTP(w, r) })
	wg.Go(func() {
		defer close(f.done)
		if err := admin.Serve(ctx, f.ln, h, answerGrace, log); err != nil && ctx.Err() == nil {
			log.Error("the admin API stopped answering", "error", err)
		}
	})
}

// abandon lets go of a front that was never served.
func (f *front) abandon() {
	if f != nil && f.ln != nil {
		f.ln.Close()
	}
}

func (f *front) close() {
	f.stop()
	<-f.done
}

func (f *front) addr() string {
	if f.ln == nil {
		return ""
	}
	return f.ln.Addr().Network() + ":" + f.ln.Addr().String()
}

// alive makes sure that the ledger still commits.
func (d *Daemon) alive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pinged)
	defer cancel()
	return d.ledger.Barrier(ctx)
}

// startDisk watches the filesystems that crew writes to, in place of the last
// one's, and pauses its sources while too little is free.
func (d *Daemon) startDisk(ctx context.Context, wg *sync.WaitGroup, c *crew) {
	w := newDiskWatch(c.dirs(), c.cfg.MinFree.Of, d.log)
	w.spare = func() { d.shedCopies(ctx, c.cfg.StateDir, c.cfg.MinFree.Of) }
	w.look()
	ctx, stop := context.WithCancel(ctx)
	d.mu.Lock()
	if d.diskStop != nil {
		d.diskStop()
	}
	d.disk, d.diskStop = w, stop
	d.mu.Unlock()
	changed := c.heed(w)
	wg.Go(func() { w.run(ctx) })
	wg.Go(func() {
		for {
			select {
			case <-changed:
				changed = c.heed(w)
			case <-ctx.Done():
				return
			}
		}
	})
}

// heed pauses the crew's sources, or lets them go on, as w says. The channel is
// closed when that changes.
func (c *crew) heed(w *diskWatch) <-chan struct{} {
	low, changed := w.state()
	for _, l := range c.lines {
		if low != "" {
			l.pause(byDisk, "the disk is nearly full: "+low)
		} else {
			l.resume(byDisk)
		}
	}
	return changed
}

func (d *Daemon) lowDisk() string {
	d.mu.Lock()
	w := d.disk
	d.mu.Unlock()
	if w == nil {
		return ""
	}
	low, _ := w.state()
	return low
}

// dirs are the directories on this machine that the crew writes to.
func (c *crew) dirs() []string {
	dirs := []string{c.cfg.StateDir}
	for _, l := range c.lines {
		if d := folderOf(&l.cfg.Source); d != nil && d.Path != "" {
			dirs = append(dirs, d.Path)
			if to := reports(l.cfg); to != "" {
				dirs = append(dirs, to)
			}
		}
	}
	for i := range c.cfg.SFTPServer.Users {
		dirs = append(dirs, c.cfg.SFTPServer.Users[i].Home)
	}
	for _, o := range c.outlets {
		if o.dir != "" {
			dirs = append(dirs, o.dir)
		}
	}
	return dirs
}
