package sinktest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

const (
	asked   = "INGESTD_SINKTEST"
	hailing = "target listening on "
)

// MainIfAsked turns the process into a target where Spawn started it, and
// otherwise returns. A TestMain calls it first.
func MainIfAsked() {
	if os.Getenv(asked) != "" {
		os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
}

// Main runs a target until SIGTERM or SIGINT, or, with -tied, the end of in. It
// prints its address to out and returns the exit code.
//
//	-addr HOST:PORT  -seed N  -id FIELD  -exact  -journal FILE  -script JSON  -tied
func Main(args []string, in io.Reader, out, errs io.Writer) int {
	flags := flag.NewFlagSet("target", flag.ContinueOnError)
	flags.SetOutput(errs)
	var o Options
	addr := flags.String("addr", "127.0.0.1:0", "where to listen")
	flags.Uint64Var(&o.Seed, "seed", 0, "of the weather")
	flags.StringVar(&o.ID, "id", "id", "the field that tells records apart")
	flags.BoolVar(&o.Exact, "exact", false, "parse bodies and keep them")
	flags.StringVar(&o.Journal, "journal", "", "the file that accepted requests are appended to")
	script := flags.String("script", "{}", "how to behave, as JSON")
	tied := flags.Bool("tied", false, "end when standard input ends")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if err := json.Unmarshal([]byte(*script), &o.Script); err != nil {
		fmt.Fprintln(errs, "-script:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	t, err := New(o)
	if err == nil {
		err = t.Listen(*addr)
	}
	if err != nil {
		fmt.Fprintln(errs, err)
		return 1
	}
	fmt.Fprintf(out, "%s%s\n", hailing, t.URL())
	if *tied {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			io.Copy(io.Discard, in) // ends with the parent, at the latest
		}()
		select {
		case <-ctx.Done():
		case <-ended:
		}
	} else {
		<-ctx.Done()
	}
	if err := t.Close(); err != nil {
		fmt.Fprintln(errs, err)
		return 1
	}
	return 0
}

// A Process is a target in a process of its own.
type Process struct {
	URL     string
	journal string
	cmd     *exec.Cmd
	stdin   io.Closer
}

// Spawn runs this executable again as a target; its main or TestMain calls
// MainIfAsked. The process ends with Stop, with ctx, or with this one.
func Spawn(ctx context.Context, o Options) (*Process, error) {
	return SpawnAt(ctx, "127.0.0.1:0", o)
}

// SpawnAt is Spawn at a fixed address, for a target that comes back.
func SpawnAt(ctx context.Context, addr string, o Options) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("spawn a target: %w", err)
	}
	script, err := json.Marshal(o.Script)
	if err != nil {
		return nil, fmt.Errorf("spawn a target: %w", err)
	}
	if o.ID == "" {
		o.ID = "id"
	}
	cmd := exec.CommandContext(ctx, self, "-addr", addr, "-seed", strconv.FormatUint(o.Seed, 10), "-id", o.ID,
		"-exact="+strconv.FormatBool(o.Exact), "-journal", o.Journal, "-script", string(script), "-tied")
	cmd.Env = append(os.Environ(), asked+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("spawn a target: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("spawn a target: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("spawn a target: %w", err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), hailing)
	if err != nil || !ok {
		stdin.Close()
		return nil, fmt.Errorf("spawn a target: it said %q: %w", line, errors.Join(err, cmd.Wait()))
	}
	return &Process{URL: url, journal: o.Journal, cmd: cmd, stdin: stdin}, nil
}

// Stop ends the process in order.
func (p *Process) Stop() error {
	p.stdin.Close()
	return p.cmd.Wait()
}

// Kill ends it as kill -9 does.
func (p *Process) Kill() error {
	if err := p.cmd.Process.Kill(); err != nil {
		return err
	}
	p.cmd.Wait() // says that it was killed
	return nil
}

// Set changes the script.
func (p *Process) Set(ctx context.Context, s Script) error {
	return p.call(ctx, http.MethodPut, "/_control/script", s, nil)
}

// Release lets requests go that hang.
func (p *Process) Release(ctx context.Context) error {
	return p.call(ctx, http.MethodPost, "/_control/release", nil, nil)
}

// Stats asks for the counts.
func (p *Process) Stats(ctx context.Context) (s Stats, err error) {
	err = p.call(ctx, http.MethodGet, "/_stats", nil, &s)
	return s, err
}

// Judge judges by the journal, which must have been asked for.
func (p *Process) Judge(expect []string) (Verdict, error) { return JudgeJournal(p.journal, expect) }

func (p *Process) call(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, p.URL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, bytes.TrimSpace(text))
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(out)
}
