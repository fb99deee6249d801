package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"ingestd/ingest/pipeline"
	"ingestd/sinks/sinktest"
)

// A mix is what a rack has beyond one target and a file.
type mix struct {
	order    bool // a sink with order_by
	results  bool // one that answers record by record, and takes no large bodies
	outage   bool // one that is down half of the time
	hours    bool // one to which nothing is delivered half of the time
	receipts bool
}

// mixOf is the mix of a seed.
func mixOf(seed uint64) mix {
	return []mix{
		{receipts: true},
		{order: true, results: true, outage: true, hours: true, receipts: true},
		{order: true, receipts: true},
		{results: true, receipts: true},
		{order: true, outage: true},
		{results: true, hours: true, receipts: true},
	}[seed%6]
}

func (m mix) String() string {
	var parts []string
	for _, p := range []struct {
		name string
		on   bool
	}{{"order", m.order}, {"results", m.results}, {"outage", m.outage}, {"hours", m.hours}, {"receipts", m.receipts}} {
		if p.on {
			parts = append(parts, p.name)
		}
	}
	if parts == nil {
		return "plain"
	}
	return strings.Join(parts, ", ")
}

// An extra is one more target, in a process of its own.
type extra struct {
	name    string
	target  *sinktest.Process
	journal string
	script  sinktest.Script
	refused map[string]bool
	ids     map[string]bool // it is to have
}

// add starts the mix's targets. Each refuses other ids than the others, so that
// records are dead at some sinks and delivered at the rest.
func (r *rack) add(seed uint64) {
	r.t.Helper()
	mild := slices.Clone(r.script.Weather)
	for i := range mild {
		mild[i].P /= 2
	}
	for i, s := range []struct {
		name   string
		on     bool
		refuse int // every so manieth id
		script sinktest.Script
	}{
		{"laned", r.mix.order, 1009, sinktest.Script{}},
		{"each", r.mix.results, 883, sinktest.Script{MaxBytes: 3600, Records: &sinktest.Records{
			Reverse: true, Weather: []sinktest.RecordChance{{P: 0.02, Status: 503}, {P: 0.01, Status: 429}},
		}}},
		{"faint", r.mix.outage, 1103, sinktest.Script{}},
		{"night", r.mix.hours, 1201, sinktest.Script{}},
	} {
		if !s.on {
			continue
		}
		x := &extra{name: s.name, journal: r.path("journal." + s.name), script: s.script, refused: map[string]bool{}, ids: map[string]bool{}}
		x.script.Weather = mild
		for id := 300 + 100*i; id < 2_000_000; id += s.refuse {
			name := fmt.Sprintf("r%d", id)
			x.refused[name] = true
			if x.script.Records != nil && id%2 == 0 {
				x.script.Records.Silent = append(x.script.Records.Silent, name)
			} else {
				x.script.Refuse = append(x.script.Refuse, name)
			}
		}
		var err error
		if x.target, err = sinktest.Spawn(r.ctx, sinktest.Options{Seed: seed + uint64(i), Journal: x.journal, Script: x.script}); err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() { _ = x.target.Stop() })
		r.extras = append(r.extras, x)
	}
}

// expect notes that a record was dropped.
func (r *rack) expect(id string) {
	for _, x := range r.extras {
		if !x.refused[id] {
			x.ids[id] = true
		}
	}
	if _, seen := r.first[id]; !seen && r.mix.order {
		r.first[id] = place{len(r.first), fmt.Sprintf("f%d.csv", r.files)}
	}
}

// A place is where an id was dropped first.
type place struct {
	rank int // among all
	file string
}

// noteLoops finds the files of which a daemon said that they go behind the
// others, because three starts in a row were killed before they got on: no order
// is promised for those.
func (r *rack) noteLoops(log string) {
	for _, m := range regexp.MustCompile(`goes behind the others.*"name":"([^"]+)"`).FindAllStringSubmatch(log, -1) {
		r.looped[m[1]] = true
	}
}

// customerOf is the value that order is asked for.
func customerOf(id int) int { return id * 7919 % 41 }

func (r *rack) sinkNames() []string {
	names := []string{"api", "copy"}
	for _, x := range r.extras {
		names = append(names, x.name)
	}
	return names
}

// moreSinks are the mix's sinks in the config. Their lanes, too, are others by
// variant.
func (r *rack) moreSinks(variant int) string {
	var sb strings.Builder
	for _, x := range r.extras {
		more := ""
		switch x.name {
		case "laned":
			more = fmt.Sprintf("order_by: [customer], concurrency: %d, ", []int{4, 3, 4}[variant%3])
		case "each":
			more = "results: {path: results, error: message, index: index}, "
		case "night":
			from, until := -6, 6 // hours from now
			if r.closed {
				from, until = 6, 7
			}
			now := time.Now().UTC()
			at := func(hours int) string { return now.Add(time.Duration(hours) * time.Hour).Format("15:04") }
			more = fmt.Sprintf("deliver: {window: %q, zone: UTC}, ", at(from)+"-"+at(until))
		}
		fmt.Fprintf(&sb, "  %s: {type: http, url: %q, timeout: 1s, %sbatch: {max_records: %d}, retry: {initial: 5ms, max: 200ms}}\n",
			x.name, x.target.URL+"/orders", more, []int{90, 40, 110}[variant%3])
	}
	return sb.String()
}

// moreKeys are the mix's keys of the pipeline.
func (r *rack) moreKeys() string {
	if r.mix.receipts {
		return "    receipt: {dir: receipts}\n"
	}
	return ""
}

// usualLate is how long a point may take to be reached.
const usualLate = 10 * time.Second

// weather throws the dice for what is down and closed until it is asked again.
// It returns the points that can be reached, and how long that may take.
func (r *rack) weather() ([]pipeline.Point, time.Duration) {
	r.t.Helper()
	idle := false
	for _, x := range r.extras {
		s := x.script
		switch x.name {
		case "faint":
			if r.rnd.IntN(2) == 0 {
				idle = true
				s.Always = &sinktest.Step{Do: sinktest.Reset}
				if r.rnd.IntN(2) == 0 {
					s.Always = &sinktest.Step{Do: sinktest.Status, Status: http.StatusServiceUnavailable}
				}
			}
			r.set(x, s)
		case "night":
			r.closed = r.rnd.IntN(2) == 0
			idle = idle || r.closed
		}
	}
	if idle { // no arrival ends
		return []pipeline.Point{pipeline.AfterClaim, pipeline.AfterSend, pipeline.AfterSettle}, 4 * time.Second
	}
	return slices.DeleteFunc(pipeline.Points(), func(p pipeline.Point) bool {
		return !r.mix.receipts && (p == pipeline.BeforeReceipt || p == pipeline.AfterReceipt)
	}), usualLate
}

// fair ends all that is down or closed.
func (r *rack) fair() {
	r.t.Helper()
	r.closed = false
	for _, x := range r.extras {
		r.set(x, x.script)
	}
	r.settings(0)
}

func (r *rack) set(x *extra, s sinktest.Script) {
	r.t.Helper()
	if err := x.target.Set(r.ctx, s); err != nil {
		r.t.Fatal(err)
	}
}

// judgeMix counts what the mix's targets have, whether each customer's records
// came in order, and whether each arrival has its report.
func (r *rack) judgeMix() {
	t := r.t
	t.Helper()
	for _, x := range r.extras {
		v, err := x.target.Judge(slices.Collect(maps.Keys(x.ids)))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("TORTURE %s: %d requests with %d of %d ids; violations: %d", x.name, v.Requests, v.IDs, len(x.ids),
			v.Missing.N+v.Unexpected.N+v.TwoKeys.N+v.Doubled.N+v.TwoBodies.N+v.NoKey)
		if !v.OK() {
			t.Errorf("%s: %v", x.name, v)
		}
		if x.name == "laned" {
			r.inOrder(x)
		}
	}
	if r.mix.receipts {
		r.reported()
	}
}

// inOrder checks that records of a customer were taken first in the order in
// which they were dropped first.
func (r *rack) inOrder(x *extra) {
	r.t.Helper()
	ids, err := sinktest.JournalIDs(x.journal)
	if err != nil {
		r.t.Fatal(err)
	}
	last, late := map[int]string{}, 0
	for _, id := range ids {
		n, err := strconv.Atoi(id[1:])
		if err != nil {
			r.t.Fatal(err)
		}
		c := customerOf(n)
		if r.looped[r.first[id].file] {
			continue
		}
		was, some := last[c]
		if some && r.first[was].rank > r.first[id].rank {
			if late++; late <= 5 {
				r.t.Errorf("customer %d: %s was taken after %s", c, id, was)
			}
			continue
		}
		last[c] = id
	}
	r.t.Logf("TORTURE laned: %d ids of %d customers, %d out of order; %d files went behind the others", len(ids), len(last), late, len(r.looped))
}

// reported checks that each arrival has one report, which says what the ledger
// says.
func (r *rack) reported() {
	t := r.t
	t.Helper()
	cmd, out := r.command("arrivals", "--json")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	var refused int
	for line := range strings.Lines(out.String()) {
		var a, rep struct {
			Name, State                                   string
			Records, Delivered, Duplicate, Filtered, Dead int64
			File, Arrival                                 string
			ID                                            string
			Rejected                                      int64
			Rejects                                       []struct{}
			RejectedFile                                  string `json:"rejected_file"`
		}
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(r.path("drop/receipts/" + a.Name + ".receipt.json"))
		if err == nil {
			err = json.Unmarshal(b, &rep)
		}
		if err != nil {
			t.Errorf("the receipt of %s: %v", a.Name, err)
			continue
		}
		if rep.Arrival != a.ID || rep.State != a.State || rep.Records != a.Records || rep.Delivered != a.Delivered || rep.Duplicate != a.Duplicate || rep.Rejected != a.Dead || int64(len(rep.Rejects)) != a.Dead {
			t.Errorf("the receipt of %s says %d, %d, %d, %d (%d listed), the ledger %d, %d, %d, %d", a.Name,
				rep.Records, rep.Delivered, rep.Duplicate, rep.Rejected, len(rep.Rejects), a.Records, a.Delivered, a.Duplicate, a.Dead)
		}
		_, err = os.Stat(r.path("drop/receipts/" + a.Name + ".rejected.csv"))
		if errors.Is(err, os.ErrNotExist) != (a.Dead == 0) {
			t.Errorf("%d records of %s were rejected, their file: %v", a.Dead, a.Name, err)
		}
		if a.Dead > 0 {
			refused++
		}
	}
	files, err := filepath.Glob(r.path("drop/receipts/*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != r.files+refused {
		t.Errorf("%d files in receipts/, want %d", len(files), r.files+refused)
	}
	hidden, _ := filepath.Glob(r.path("drop/receipts/.*"))
	t.Logf("TORTURE receipts: %d of %d arrivals, %d with rejected records; %d temporary files left", r.files, r.files, refused, len(hidden))
}
