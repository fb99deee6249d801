package sinktest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"slices"
)

// Records make a target answer for each record by itself:
//
//	{"results": [{"index": 0, "id": "17", "status": 200}, {"index": 1, "id": "18", "status": 422, "message": "id 18: 422"}]}
//
// A record answered with 2xx is taken, any other is not. The answer to a key is
// remembered, as its ids are: the same request again gets the same one.
type Records struct {
	Answer  int              `json:"answer,omitempty"`  // status of the whole; default 207
	By      map[string][]int `json:"by,omitempty"`      // id → statuses, in turn; taken once they are used up
	Weather []RecordChance   `json:"weather,omitempty"` // for ids that are not in By; taken otherwise
	Silent  []string         `json:"silent,omitempty"`  // ids that are not taken and get no result
	Reverse bool             `json:"reverse,omitempty"` // results stand in reverse order: index tells
}

// A RecordChance is a status that a share of the records gets, each time anew.
type RecordChance struct {
	P      float64 `json:"p"` // from 0 to 1
	Status int     `json:"status"`
}

func (r *Records) check() error {
	sum := 0.0
	for _, c := range r.Weather {
		if c.P < 0 {
			return fmt.Errorf("a probability of %v", c.P)
		}
		sum += c.P
	}
	if sum > 1.000001 {
		return fmt.Errorf("probabilities of records add up to %v", sum)
	}
	if r.Answer != 0 && (r.Answer < 200 || r.Answer > 299) {
		return fmt.Errorf("an answer with results and status %d", r.Answer)
	}
	return nil
}

// status is what a record gets when it is asked about for the n-th time, from 0.
func (r *Records) status(seed uint64, id string, n int) int {
	if by, ok := r.By[id]; ok {
		if n < len(by) {
			return by[n]
		}
		return http.StatusOK
	}
	if len(r.Weather) == 0 {
		return http.StatusOK
	}
	h := fnv.New64a()
	h.Write([]byte(id))
	x := rand.New(rand.NewPCG(seed^uint64(n), h.Sum64())).Float64()
	for _, c := range r.Weather {
		if x < c.P {
			return c.Status
		}
		x -= c.P
	}
	return http.StatusOK
}

type result struct {
	Index   int    `json:"index"`
	ID      string `json:"id"`
	Status  int    `json:"status"`
	Message string `json:"message,omitempty"`
}

// results decides about each record of a request: the ids that are taken, each
// ended by a line end, and the answer.
func (t *Target) results(r *Records, ids []byte) (taken []byte, answer string) {
	out := struct {
		Results []result `json:"results"`
	}{Results: []result{}}
	t.mu.Lock()
	if t.told == nil {
		t.told = map[string]int{}
	}
	i := 0
	for line := range bytes.Lines(ids) {
		id := string(bytes.TrimSuffix(line, []byte{'\n'}))
		res := result{Index: i, ID: id}
		i++
		if slices.Contains(r.Silent, id) {
			continue
		}
		res.Status = r.status(t.o.Seed, id, t.told[id])
		t.told[id]++
		if res.Status/100 == 2 {
			taken = append(taken, line...)
		} else {
			res.Message = fmt.Sprintf("id %s: %d", id, res.Status)
		}
		out.Results = append(out.Results, res)
	}
	t.mu.Unlock()
	if r.Reverse {
		slices.Reverse(out.Results)
	}
	text, _ := json.Marshal(out) // numbers and texts always encode
	return taken, string(text)
}

// takeEach takes what the script lets it take of a request.
func (t *Target) takeEach(w http.ResponseWriter, r *http.Request, s *compiled, step Step, req request, ids, body []byte) error {
	some, answer := t.results(s.Records, ids)
	taken, err := t.book.accept(req, some, body)
	if err != nil {
		return err
	}
	if taken {
		t.count.accepted.Add(1)
		t.count.ids.Add(int64(bytes.Count(some, []byte{'\n'})))
		t.book.remember(req.key, answer)
	} else {
		t.count.repeated.Add(1)
		answer = t.book.recall(req.key, ids)
	}
	if step.Do == Accept {
		t.answer(w, s.Records.Answer, answer, "")
		return nil
	}
	t.strike(w, r, s, step)
	return nil
}

// remember keeps what a key was answered.
func (b *book) remember(key, answer string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keys[key].answer = answer
}

// recall is what a key was answered. A target that was started again knows from
// its journal which ids it took: the others are to come again.
func (b *book) recall(key string, ids []byte) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.keys[key]
	if e.answer != "" {
		return e.answer
	}
	has := splitIDs(e.ids)
	var results []result
	for i, id := range splitIDs(string(ids)) {
		res := result{Index: i, ID: id, Status: http.StatusOK}
		if !slices.Contains(has, id) {
			res.Status = http.StatusServiceUnavailable
		}
		results = append(results, res)
	}
	text, _ := json.Marshal(map[string]any{"results": results})
	return string(text)
}
