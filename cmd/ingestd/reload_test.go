package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ingestd/sinks/sinktest"
)

// TestReloadUnderLoad reloads fifty times while files arrive and requests are
// under way, every fifth time with a config that is wrong: nothing is dropped,
// no request is cut, nothing is sent a second time.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	s := newShop(t, shopConfig)
	config := func(i int) string {
		text := strings.ReplaceAll(shopConfig, "TARGET", s.target.URL)
		text = strings.Replace(text, "    retry:", fmt.Sprintf("    batch: {max_records: %d}\n    concurrency: %d\n    retry:", 3+i%5, 1+i%4), 1)
		if i%2 == 1 { // a pipeline comes and goes
			text += "  other:\n    source: {type: dir, path: other, settle: 0s, rescan: 1s}\n    record: {key: [id]}\n    sinks: [api]\n"
		}
		return text
	}
	if err := s.target.Set(t.Context(), sinktest.Script{Weather: []sinktest.Chance{{P: 1, Step: sinktest.Step{Do: sinktest.Accept, Delay: 5}}}}); err != nil {
		t.Fatal(err)
	}
	systemd := listenNotify(t)
	s.env = []string{"NOTIFY_SOCKET=" + systemd.path}
	s.write("ingestd.yaml", config(0))
	d := s.start("run")
	systemd.expect(t, "READY=1\nSTATUS=1 pipeline, 0 waiting arrivals")

	const reloads, rows = 50, 20
	var want []string
	reloading := regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=\d+\n?$`)
	for i := range reloads {
		var file strings.Builder
		file.WriteString("id,name\n")
		for range rows {
			id := strconv.Itoa(len(want))
			want = append(want, id)
			file.WriteString(id + ",x\n")
		}
		folder := "drop"
		if i%4 == 3 {
			folder = "other"
		}
		s.drop(folder, fmt.Sprintf("%03d.csv", i), file.String())
		broken := i%5 == 4
		if broken {
			s.write("ingestd.yaml", config(i)+"    bath: {}\n")
		} else {
			s.write("ingestd.yaml", config(i+1))
		}
		if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		if got := systemd.expect(t, "RELOADING=1"); !reloading.MatchString(got) {
			t.Errorf("systemd was told %q", got)
		}
		systemd.expect(t, "READY=1\nSTATUS=")
	}
	s.write("ingestd.yaml", config(1))
	s.ask(0, "reload")
	s.until("all to be done", func() bool {
		return strings.Count(s.ask(0, "arrivals", "--state", "done", "--json"), "\n") == reloads
	})
	if n := strings.Count(d.out.String(), "the new config was refused; the old one goes on"); n != reloads/5 {
		t.Errorf("%d configs were refused, want %d", n, reloads/5)
	}
	s.ask(0, "audit")
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	d.ends(0, 12*time.Second)
	v, err := s.target.Judge(want)
	if err != nil {
		t.Fatal(err)
	}
	stats, err := s.target.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !v.OK() || stats.Repeated != 0 {
		t.Errorf("the target: %v; %d requests came again", v, stats.Repeated)
	}
}
