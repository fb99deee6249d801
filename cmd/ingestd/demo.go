package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"ingestd/cmd/internal/daemon"
	"ingestd/config"
	"ingestd/ingest"
	"ingestd/ingest/admin"
	"ingestd/samples"

	"github.com/spf13/cobra"
)

// demoWithin bounds the demo, should anything be off.
const demoWithin = 90 * time.Second

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Everything at once in a temporary directory; prints what happens",
		Long: `Starts a target API and a daemon in a temporary directory (under $TMPDIR), drops
files of all four formats, a repeated file and some bad records among them,
uploads one by SFTP as a partner does, has a sender call a webhook, and shows what became
of each. Ends by itself, and leaves the directory for a look;
with DEMO_KEEP=1 daemon and target stay until interrupted.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := newDemo(a)
			if err != nil {
				return err
			}
			defer d.close()
			return d.run(cmd.Context(), os.Getenv("DEMO_KEEP") == "1")
		},
	}
}

// A demo is the whole of it, in one process.
type demo struct {
	a       *app
	dir     string
	config  string
	target  *demoTarget
	partner *demoPartner
	log     *os.File
	client  *admin.Client
	off     []string // what is not as it should be
}

func newDemo(a *app) (_ *demo, err error) {
	d := &demo{a: a}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	if d.dir, err = os.MkdirTemp("", "ingestd-demo-"); err != nil {
		return nil, err
	}
	if d.target, err = newDemoTarget(); err != nil {
		return nil, err
	}
	d.config = filepath.Join(d.dir, "ingestd.yaml")
	text := strings.ReplaceAll(string(samples.Quickstart()), "http://127.0.0.1:9000", d.target.url())
	var more string
	if d.partner, more, err = newDemoPartner(d.dir); err != nil {
		return nil, err
	}
	if err := os.WriteFile(d.config, []byte(text+demoHook+more+demoHooks), 0o600); err != nil {
		return nil, err
	}
	d.log, err = os.Create(filepath.Join(d.dir, "ingestd.log"))
	return d, err
}

func (d *demo) close() {
	if d.client != nil {
		d.client.Close()
	}
	if d.target != nil {
		d.target.close()
	}
	if d.log != nil {
		d.log.Close()
	}
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.a.out, format+"\n", args...) }

func (d *demo) run(ctx context.Context, keep bool) error {
	cfg, problems := daemon.Load(d.config)
	if cfg == nil {
		return problems.Err()
	}
	folders := 0
	for i := range cfg.Pipelines {
		if cfg.Pipelines[i].Source.Type != "dir" {
			continue
		}
		folders++
		if err := os.MkdirAll(cfg.Pipelines[i].Source.Path(), 0o755); err != nil {
			return err
		}
	}
	log := newLogger(d.log, slog.LevelInfo, "json", false)
	own, err := d.a.owner(ctx, cfg, log)
	if err != nil {
		return err
	}
	d.say("ingestd demo, in %s\n", d.dir)
	d.say("A target API listens on %s. It answers the first request with 503, as APIs do.", d.target.url())
	d.say("A daemon watches %d folders below drops/, one for each format, lets the partner acme\nupload by SFTP, and nobody else, and listens for a webhook.", folders)

	work, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	ended := make(chan error, 1)
	wg.Go(func() { ended <- errors.Join(own.Run(work, nil), own.Close()) })
	defer wg.Wait()
	defer stop()

	limited, cancel := context.WithTimeout(work, demoWithin)
	defer cancel()
	if err := d.play(limited, cfg); err != nil {
		return fmt.Errorf("the demo did not get through: %w (log: %s)", err, d.log.Name())
	}
	if err := d.tell(limited, cfg.StateDir); err != nil {
		return err
	}
	if keep {
		d.say("\nDaemon and target stay until you press Ctrl-C. Drop more files into %s/drops, or upload:\n  %s", d.dir, strings.Join(d.partner.login(), " "))
		select {
		case <-ctx.Done():
		case err := <-ended:
			return err
		}
	} else {
		stop()
		if err := <-ended; err != nil {
			return err
		}
	}
	if len(d.off) > 0 {
		return &exit{code: codeNotClean, err: errors.New("not as it should be: " + strings.Join(d.off, "; "))}
	}
	return nil
}

// play drops the samples, in waves: a second file of a pipeline comes after the
// first has ended, and a copy of one last of all.
func (d *demo) play(ctx context.Context, cfg *config.Config) error {
	var err error
	for d.client == nil {
		if d.client, err = admin.Dial(ctx, filepath.Join(d.dir, "state", daemon.Socket)); err == nil {
			break
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
	var waves [][]samples.Input
	count := map[string]int{}
	for _, in := range samples.Inputs() {
		n := count[in.Pipeline]
		count[in.Pipeline]++
		if n == len(waves) {
			waves = append(waves, nil)
		}
		waves[n] = append(waves[n], in)
	}
	dropped := 0
	for i, wave := range waves {
		var names []string
		for _, in := range wave {
			if err := d.drop(in, in.Name()); err != nil {
				return err
			}
			names = append(names, in.Name())
		}
		dropped += len(wave)
		d.say("%s", []string{"Dropped: ", "Then dropped: "}[min(i, 1)]+strings.Join(names, ", "))
		if err := d.settled(ctx, dropped); err != nil {
			return err
		}
	}
	if err := d.visit(ctx, cfg); err != nil {
		return fmt.Errorf("upload as a partner: %w", err)
	}
	dropped++
	if err := d.settled(ctx, dropped); err != nil {
		return err
	}
	// Content is known once all of it was delivered: of a file with a dead
	// letter the rest may be sent again, so that it can be mended.
	clean := samples.Inputs()[slices.IndexFunc(samples.Inputs(), func(in samples.Input) bool { return len(in.Bad) == 0 })]
	if err := d.drop(clean, "again-"+clean.Name()); err != nil {
		return err
	}
	d.say("Last dropped: the content of %s under another name.", clean.Name())
	if err := d.send(ctx); err != nil {
		return err
	}
	return d.settled(ctx, dropped+1+len(demoEvents()))
}

// partnerPrefix starts the names of the files that the partner uploads.
const partnerPrefix = "acme-"

// visit uploads a file as the partner does.
func (d *demo) visit(ctx context.Context, cfg *config.Config) error {
	_, keys, err := daemon.DropFingerprints(cfg)
	if err != nil {
		return err
	}
	st, err := d.client.Status(ctx)
	if err != nil {
		return err
	}
	if st.SFTPServer == nil {
		return errors.New("the SFTP server does not listen")
	}
	if err := d.partner.meet(st.SFTPServer.Listen, keys); err != nil {
		return err
	}
	in := samples.Inputs()[0]
	how, err := d.partner.upload(ctx, in, partnerPrefix+in.Name())
	if err != nil {
		return err
	}
	d.say("The partner uploaded: %s%s, %s, to %s.", partnerPrefix, in.Name(), how, d.partner.address)
	return nil
}

// thank shows what the partner finds in its folder afterwards.
func (d *demo) thank(ctx context.Context) error {
	in := samples.Inputs()[0]
	r, err := d.partner.receipt(ctx, partnerPrefix+in.Name())
	if err != nil {
		return fmt.Errorf("fetch the partner's receipt: %w", err)
	}
	d.say("\nThe partner fetched its receipt, receipts/%s%s.receipt.json:", partnerPrefix, in.Name())
	d.say("  %s: %s", r.State, printable(r.Message))
	for _, reject := range r.Rejects {
		d.say("  line %d: %s", reject.Line, printable(reject.Reason))
	}
	if r.Delivered != in.Delivered() {
		d.off = append(d.off, fmt.Sprintf("the receipt says %d delivered, not %d", r.Delivered, in.Delivered()))
	}
	return nil
}

// drop puts a file into its folder as a careful partner does: written under a
// name that is ignored, then renamed.
func (d *demo) drop(in samples.Input, name string) error {
	cfg, problems := daemon.Load(d.config)
	if cfg == nil {
		return problems.Err()
	}
	dir := cfg.Pipeline(in.Pipeline).Source.Path()
	tmp := filepath.Join(dir, "."+name+".tmp")
	if err := os.WriteFile(tmp, in.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, name))
}

// settled waits until n arrivals are put away.
func (d *demo) settled(ctx context.Context, n int) error {
	for {
		done := 0
		for v, err := range d.client.Arrivals(ctx, ingest.ArrivalFilter{}) {
			if err != nil {
				return err
			}
			if ingest.State(v.State).Ended() && v.PutAway != "" {
				done++
			}
		}
		if done >= n {
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("%d of %d files ended: %w", done, n, err)
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(50 * time.Millisecond):
		return nil
	}
}

// tell says what became of every file, and compares it with what should have.
func (d *demo) tell(ctx context.Context, state string) error {
	wanted := map[string]samples.Input{}
	for _, in := range samples.Inputs() {
		wanted[in.Name()] = in
	}
	wanted[partnerPrefix+samples.Inputs()[0].Name()] = samples.Inputs()[0]
	t := newTable("ARRIVAL", "FILE OR HOOK", "STATE", "RECORDS", "DELIVERED", "DUPLICATE", "DEAD")
	var rows []admin.Arrival
	for v, err := range d.client.Arrivals(ctx, ingest.ArrivalFilter{}) {
		if err != nil {
			return err
		}
		rows = append(rows, v)
	}
	var delivered, want int64
	bad := "1" // an arrival with something to see
	for i := len(rows) - 1; i >= 0; i-- {
		v := &rows[i]
		t.AppendRow([]any{v.ID, v.Name, v.State, v.Records, v.Delivered, v.Duplicate, v.Dead})
		delivered += v.Delivered
		if v.Dead > 0 {
			bad = v.ID
		}
		in, ok := wanted[v.Name]
		switch {
		case v.Source == ingest.SourceWebhook:
			if want += v.Records; v.Delivered != v.Records {
				d.off = append(d.off, fmt.Sprintf("event %s: %d of %d records were delivered", v.ID, v.Delivered, v.Records))
			}
		case !ok && v.State != string(ingest.DuplicateState):
			d.off = append(d.off, v.Name+" is "+v.State+", not duplicate")
		case !ok:
		case v.Records != int64(in.Records) || v.Delivered != int64(in.Delivered()) || v.Dead != int64(len(in.Bad)):
			d.off = append(d.off, fmt.Sprintf("%s: %d records, %d delivered, %d dead; want %d, %d, %d",
				v.Name, v.Records, v.Delivered, v.Dead, in.Records, in.Delivered(), len(in.Bad)))
		}
		want += int64(in.Delivered())
	}
	d.say("\n%s\n", t.Render())
	got := d.target.got()
	d.say("The target API took %s in %s, each record once; it answered %s with 503, and those came again under the same key.",
		some(got.records, "record"), some(got.requests, "request"), some(got.refused, "request"))
	if got.records != want || delivered != want {
		d.off = append(d.off, fmt.Sprintf("%d records were delivered and %d reached the target; want %d", delivered, got.records, want))
	}
	if got.twice > 0 {
		d.off = append(d.off, fmt.Sprintf("%d records reached the target twice", got.twice))
	}
	d.say("\nDead letters: records that could not be read or shaped. Their neighbours went through.")
	var letters bytes.Buffer
	shown := *d.a
	shown.out = &letters
	if n, err := shown.letterTable(ctx, d.client, ingest.LetterFilter{}); err != nil {
		return err
	} else if n == 0 {
		fmt.Fprintln(&letters, "none")
	}
	d.say("%s", strings.TrimRight(letters.String(), "\n"))
	if err := d.thank(ctx); err != nil {
		return err
	}
	books := 0
	for r, err := range d.client.Audit(ctx, "", ingest.Ref{}) {
		if err != nil {
			return err
		}
		if books++; !r.Balanced {
			d.off = append(d.off, "the books of arrival "+r.Arrival+" do not balance: "+r.Why)
		}
	}
	if len(d.off) == 0 {
		d.say("\nThe books of all %d arrivals balance: every record has one outcome.", books)
	}
	d.say("\nLook further (nothing was removed):")
	for _, c := range []string{"arrivals", "show " + bad, "dead show 1", "audit", "status"} {
		d.say("  ingestd %s -c %s", c, d.config)
	}
	d.say("  ls -A %s/drops/csv/.ingestd/done", d.dir)
	d.say("  cat %s/out/orders_xml/*.ndjson", d.dir)
	d.say("  cat %s", d.partner.path(partnerPrefix+samples.Inputs()[0].Name()+".receipt.json"))
	d.say("  less %s", d.log.Name())
	return nil
}
