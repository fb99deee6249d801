package sinktest

import (
	"bufio"
	"encoding/json"
	"net/http"
)

// control serves the paths that begin with an underscore.
func (t *Target) control(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /_stats":
		reply(w, t.Stats())
	case "GET /_control/script":
		reply(w, t.Script())
	case "PUT /_control/script":
		var s Script
		d := json.NewDecoder(r.Body)
		d.DisallowUnknownFields()
		err := d.Decode(&s)
		if err == nil {
			err = t.Set(s)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case "POST /_control/release":
		t.Release()
		w.WriteHeader(http.StatusNoContent)
	case "POST /_control/judge":
		var expect []string
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			expect = append(expect, lines.Text())
		}
		if err := lines.Err(); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reply(w, t.Judge(expect))
	default:
		http.NotFound(w, r)
	}
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}
