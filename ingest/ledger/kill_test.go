package ledger_test

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"ingestd/ingest"
	"ingestd/ingest/ledger"
)

// claimForEver claims and settles until it is killed, and says after each step
// what was reported as done: "c N" for claim N, "s N" for its settlement. N
// counts from 1 over all lives of the arrival.
func claimForEver(dir string) int {
	l, err := ledger.Open(context.Background(), ledger.Options{Dir: dir, Logger: quiet()})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	list, err := l.Unfinished(context.Background(), "p")
	if err == nil && len(list) == 0 {
		if _, err = l.Accept(context.Background(), "p", "p", []ingest.Found{{Name: "f"}}); err == nil {
			list, err = l.Unfinished(context.Background(), "p")
		}
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	id := list[0].ID
	b, err := l.Begin(context.Background(), id, nil)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	next := 1
	for _, r := range b.Settled {
		next = max(next, int(r.Last/killRecords)+1)
	}
	open := map[int]*ingest.Batch{}
	for _, c := range b.Open {
		n := int(c.Last / killRecords)
		open[n] = c.Batches[0]
		next = max(next, n+1)
	}
	said := make(chan string, 1000)
	go func() {
		for {
			c, err := judged(l, id, int64(killRecords*(next-1))+1, killRecords, uint64(killRecords*next))
			if err != nil {
				said <- err.Error()
				return
			}
			n := next
			next++
			claimed := make(chan error, 1)
			l.Claim(c, func(err error) {
				said <- fmt.Sprint("c ", n)
				claimed <- err
			})
			if n%4 == 0 {
				continue // the next two go in one commit
			}
			if err := <-claimed; err != nil {
				said <- err.Error()
				return
			}
			for m, b := range open {
				if m%3 != n%3 {
					continue // stays open for a while
				}
				delete(open, m)
				l.Settle(&ingest.Settlement{Batch: b, State: ingest.BatchDelivered}, func(error) { said <- fmt.Sprint("s ", m) })
			}
			open[n] = c.Batches[0]
		}
	}()
	for line := range said {
		fmt.Println(line)
	}
	return 0
}

const killRecords = 50

// TestKilled: a process that claims and settles is killed with -9, again and
// again. Whatever it reported as done is there, whole, and no key is lost.
func TestKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	claimed, settled := map[int]bool{}, map[int]bool{}
	for round := range 6 {
		cmd := child(t, "busy", dir)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		// Some steps later, wherever it is then.
		lines := bufio.NewScanner(out)
		for left := 20 + 25*round; left > 0 && lines.Scan(); left-- {
			what, number, _ := strings.Cut(lines.Text(), " ")
			n, err := strconv.Atoi(number)
			if err != nil {
				t.Fatalf("the child says %q", lines.Text())
			}
			map[string]map[int]bool{"c": claimed, "s": settled}[what][n] = true
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what it said before it died counts
			what, number, _ := strings.Cut(lines.Text(), " ")
			if n, err := strconv.Atoi(number); err == nil {
				map[string]map[int]bool{"c": claimed, "s": settled}[what][n] = true
			}
		}
		_ = cmd.Wait()
		checkKilled(t, dir, claimed, settled)
	}
	if len(claimed) < 50 || len(settled) < 20 {
		t.Errorf("only %d claims, %d settlements", len(claimed), len(settled))
	}
}

// checkKilled opens what a killed process left.
func checkKilled(t *testing.T, dir string, claimed, settled map[int]bool) {
	t.Helper()
	l := open(t, dir)
	defer l.Close()
	for row, err := range l.Audit(t.Context(), "", 0) {
		if err != nil || !row.Balanced {
			t.Fatalf("%s, %v", row.Why, err)
		}
	}
	list, err := l.Unfinished(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Begin(t.Context(), list[0].ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	state := map[int]string{}
	for _, r := range b.Settled {
		for n := (r.First-1)/killRecords + 1; n <= r.Last/killRecords; n++ {
			state[int(n)] = "settled"
		}
	}
	for _, c := range b.Open {
		state[int(c.Last/killRecords)] = "open"
	}
	for n := range claimed {
		if state[n] == "" {
			t.Fatalf("claim %d was reported as done and is gone", n)
		}
		if settled[n] && state[n] != "settled" {
			t.Fatalf("claim %d was reported as settled and is %s", n, state[n])
		}
	}
	// Every key of a claim is known or pending, none else is.
	ids, err := l.Accept(t.Context(), "q", "p", []ingest.Found{{Name: "look"}})
	if err == nil {
		_, err = l.Begin(t.Context(), ids[0], nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= len(state)+3; n++ {
		want := map[string]ingest.Verdict{"settled": ingest.Duplicate, "open": ingest.Follow, "": ingest.New}[state[n]]
		recs := make([]ingest.Judged, killRecords)
		keys := make([]ingest.Key, killRecords)
		for i := range recs {
			keys[i] = numbered(uint64(killRecords*n + i))
			recs[i] = ingest.Judged{Pos: ingest.Position{Record: int64(i) + 1}, Key: keys[i], Verdict: ingest.New}
		}
		if err := l.Judge(t.Context(), ids[0], "p", recs); err != nil {
			t.Fatal(err)
		}
		for i := range recs {
			if recs[i].Verdict != want {
				t.Fatalf("claim %d is %q: key %d is judged %d", n, state[n], i, recs[i].Verdict)
			}
		}
		l.Unjudge(ids[0], "p", keys)
	}
	if _, err := l.End(t.Context(), ids[0], ingest.Ending{State: ingest.Failed, Error: "only looked"}); err != nil {
		t.Fatal(err)
	}
}
