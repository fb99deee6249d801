// Command outage measures what a target's outage does to everybody: 40
// pipelines send to a target that answers 503 for a while, 5 others to one that
// is well. docs/bench/outage.sh builds and runs it.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	var o options
	flag.StringVar(&o.binary, "ingestd", "bin/ingestd", "the binary")
	flag.IntVar(&o.sick, "pipelines", 40, "pipelines on the target that goes down")
	flag.IntVar(&o.well, "healthy", 5, "pipelines on the other one")
	flag.DurationVar(&o.before, "before", 30*time.Second, "how long all is well first")
	flag.DurationVar(&o.outage, "outage", 10*time.Minute, "how long the target is down")
	flag.DurationVar(&o.drain, "drain", 5*time.Minute, "how long draining may take")
	flag.Parse()
	if err := o.run(); err != nil {
		fmt.Fprintln(os.Stderr, "outage:", err)
		os.Exit(1)
	}
}

const (
	sickEvery, sickRecords = 5 * time.Second, 50
	wellEvery, wellRecords = time.Second, 20
)

type options struct {
	binary                string
	sick, well            int
	before, outage, drain time.Duration
}

// A target counts requests by the second and remembers which ids it took under
// which key.
type target struct {
	mu       sync.Mutex
	url      string
	down     bool
	requests map[int64]int // by Unix second
	keys     map[string]string
	twice    int // ids taken under two keys
	on       func(id string)
}

func serve(on func(id string)) (*target, error) {
	t := &target{requests: map[int64]int{}, keys: map[string]string{}, on: on}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t.url = "http://" + ln.Addr().String()
	go http.Serve(ln, t)
	return t, nil
}

func (t *target) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var recs []struct{ ID string }
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &recs)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests[time.Now().Unix()]++
	switch {
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
		return
	case t.down:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	key := r.Header.Get("Idempotency-Key")
	for _, rec := range recs {
		switch was, seen := t.keys[rec.ID]; {
		case !seen:
			t.keys[rec.ID] = key
			t.on(rec.ID)
		case was != key:
			t.twice++
		}
	}
}

func (t *target) set(down bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.down = down
}

func (t *target) taken() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.keys)
}

// between are the requests of each second of a span.
func (t *target) between(from, to time.Time) (perSecond []int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := from.Unix() + 1; s < to.Unix(); s++ {
		perSecond = append(perSecond, t.requests[s])
	}
	return perSecond
}

// A clock knows when each id was dropped and how long it took.
type clock struct {
	mu      sync.Mutex
	dropped map[string]time.Time
	took    map[string][]time.Duration // phase →
	phase   string
}

func (c *clock) drop(ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		c.dropped[id] = time.Now()
	}
}

func (c *clock) came(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.took[c.phase] = append(c.took[c.phase], time.Since(c.dropped[id]))
}

func (c *clock) enter(phase string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase = phase
}

func (c *clock) quantiles(phase string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := slices.Sorted(slices.Values(c.took[phase]))
	if len(d) == 0 {
		return "none came"
	}
	at := func(q float64) time.Duration {
		return d[min(len(d)-1, int(q*float64(len(d))))].Round(time.Millisecond)
	}
	return fmt.Sprintf("%s / %s / %s", at(0.5), at(0.99), d[len(d)-1].Round(time.Millisecond))
}

func (o *options) run() (err error) {
	dir, err := os.MkdirTemp("", "ingestd-outage-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	well := &clock{dropped: map[string]time.Time{}, took: map[string][]time.Duration{}, phase: "before"}
	sickTarget, err := serve(func(string) {})
	if err != nil {
		return err
	}
	wellTarget, err := serve(well.came)
	if err != nil {
		return err
	}
	var pipelines []string
	var conf strings.Builder
	fmt.Fprintf(&conf, "state_dir: state\nlog: {level: error}\nadmin: {listen: \"unix:admin.sock\"}\nsinks:\n  sick: {type: http, url: %q}\n  well: {type: http, url: %q}\npipelines:\n",
		sickTarget.url+"/x", wellTarget.url+"/x")
	for i := range o.sick + o.well {
		name, sink := fmt.Sprintf("s%02d", i), "sick"
		if i >= o.sick {
			name, sink = fmt.Sprintf("w%02d", i-o.sick), "well"
		}
		pipelines = append(pipelines, name)
		fmt.Fprintf(&conf, "  %s: {source: {type: dir, path: drop/%s, settle: 0s, when_done: {action: delete}}, record: {key: [id]}, sinks: [%s]}\n", name, name, sink)
		if err := os.MkdirAll(filepath.Join(dir, "drop", name), 0o700); err != nil {
			return err
		}
	}
	path := filepath.Join(dir, "ingestd.yaml")
	if err := os.WriteFile(path, []byte(conf.String()), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(o.binary, "run", "-c", path)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		err = errors.Join(err, cmd.Wait())
	}()

	stop := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	sent := map[string]int{}
	for i, name := range pipelines {
		wg.Go(func() {
			every, n, told := sickEvery, sickRecords, func([]string) {}
			if i >= o.sick {
				every, n, told = wellEvery, wellRecords, well.drop
			}
			time.Sleep(every * time.Duration(i) / time.Duration(len(pipelines)))
			tick := time.NewTicker(every)
			defer tick.Stop()
			for k := 0; ; k++ {
				if err := drop(filepath.Join(dir, "drop", name), name, k, n, told); err != nil {
					fmt.Fprintln(os.Stderr, "outage:", err)
				}
				mu.Lock()
				sent[name] += n
				mu.Unlock()
				select {
				case <-tick.C:
				case <-stop:
					return
				}
			}
		})
	}
	time.Sleep(o.before)
	memBefore := resident(cmd.Process.Pid)
	fmt.Fprintf(os.Stderr, "outage: the target of %d pipelines is down for %s\n", o.sick, o.outage)
	well.enter("during")
	sickTarget.set(true)
	downAt := time.Now()
	time.Sleep(o.outage)
	memDuring := resident(cmd.Process.Pid)
	down := sickTarget.between(downAt, time.Now())
	backlog := -sickTarget.taken()
	mu.Lock()
	for name, n := range sent {
		if name[0] == 's' {
			backlog += n
		}
	}
	mu.Unlock()
	fmt.Fprintf(os.Stderr, "outage: it is back; %d records wait\n", backlog)
	well.enter("after")
	sickTarget.set(false)
	upAt := time.Now()
	time.Sleep(30 * time.Second) // new files go on coming while the old ones drain
	close(stop)
	wg.Wait()
	want := map[byte]int{}
	for name, n := range sent {
		want[name[0]] += n
	}
	for time.Since(upAt) < o.drain && (sickTarget.taken() < want['s'] || wellTarget.taken() < want['w']) {
		time.Sleep(100 * time.Millisecond)
	}
	drained := time.Since(upAt)
	up := sickTarget.between(upAt, time.Now())

	fmt.Printf("| | %d pipelines, target down %s |\n| --- | --- |\n", o.sick, o.outage)
	for _, row := range [][2]string{
		{"healthy: file dropped → record at target, before (median / 99 % / longest)", well.quantiles("before")},
		{"the same during the outage", well.quantiles("during")},
		{"the same while the others drain", well.quantiles("after")},
		{"requests to the dead target, first minute", strconv.Itoa(sum(down[:min(60, len(down))]))},
		{"requests a minute after that", perMinute(down)},
		{"requests a minute and pipeline after that", perPipeline(down, o.sick)},
		{"busiest second while down", strconv.Itoa(slices.Max(append(down, 0)))},
		{"records that waited at the end of it", strconv.Itoa(backlog)},
		{"first request after the end", firstOf(up)},
		{"requests in each of the first 10 seconds from it", first(up, 10)},
		{"busiest second", strconv.Itoa(slices.Max(append(up, 0)))},
		{"all delivered after", drained.Round(time.Second).String()},
		{"records lost / sent under two keys", fmt.Sprintf("%d / %d", want['s']+want['w']-sickTarget.taken()-wellTarget.taken(), sickTarget.twice+wellTarget.twice)},
		{"resident memory before / at the end of the outage", fmt.Sprintf("%d / %d MiB", memBefore, memDuring)},
	} {
		fmt.Printf("| %s | %s |\n", row[0], row[1])
	}
	if lost := want['s'] + want['w'] - sickTarget.taken() - wellTarget.taken(); lost != 0 {
		return fmt.Errorf("%d records are missing after %s", lost, drained.Round(time.Second))
	}
	return nil
}

// drop renames a file of new records in.
func drop(dir, pipeline string, k, n int, told func(ids []string)) error {
	var sb strings.Builder
	sb.WriteString("id,text\n")
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s-%d-%d", pipeline, k, i)
		fmt.Fprintf(&sb, "%s,some text of a record\n", ids[i])
	}
	tmp := filepath.Join(dir, ".tmp")
	if err := os.WriteFile(tmp, []byte(sb.String()), 0o600); err != nil {
		return err
	}
	told(ids)
	return os.Rename(tmp, filepath.Join(dir, fmt.Sprintf("f%06d.csv", k)))
}

// resident is a process's memory in MiB.
func resident(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			return n >> 10
		}
	}
	return 0
}

func sum(n []int) (s int) {
	for _, x := range n {
		s += x
	}
	return s
}

func rate(down []int) float64 {
	if len(down) <= 60 {
		return 0
	}
	return float64(sum(down[60:])) * 60 / float64(len(down)-60)
}

func perMinute(down []int) string { return fmt.Sprintf("%.0f", rate(down)) }

func perPipeline(down []int, pipelines int) string {
	return fmt.Sprintf("%.1f", rate(down)/float64(pipelines))
}

func firstOf(up []int) string {
	i := slices.IndexFunc(up, func(n int) bool { return n > 0 })
	return fmt.Sprintf("%d s", i)
}

func first(up []int, n int) string {
	i := max(0, slices.IndexFunc(up, func(n int) bool { return n > 0 }))
	return strings.Trim(fmt.Sprint(up[i:min(len(up), i+n)]), "[]")
}
