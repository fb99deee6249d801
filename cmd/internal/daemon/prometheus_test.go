package daemon

import (
	"encoding/json"
	"io"
	"io/fs"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/samples"

	"go.yaml.in/yaml/v4"
)

var (
	seriesLine = regexp.MustCompile(`^(\w+)(?:\{(.*)\})? `)
	labelOf    = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"`)
	metricUsed = regexp.MustCompile(`\b((?:ingestd|process|go)_\w+)(?:\{([^}]*)\})?`)
)

// Every metric and label that the shipped dashboard and rules name is there.
func TestPrometheusSamples(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "c.yaml")
	text := "state_dir: state\nsinks: {crm: {type: stdout}}\npipelines: {orders: {source: {type: dir, path: drop}, sinks: [crm]}}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, problems := Load(path)
	if cfg == nil {
		t.Fatal(problems)
	}
	d, err := New(t.Context(), Options{Config: cfg, Logger: slog.New(slog.DiscardHandler), Stdout: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	d.metrics.Sent("orders", "crm", "delivered", 200, 10, time.Second)
	d.metrics.ArrivalEnded(&ingest.Arrival{Pipeline: "orders", Found: ingest.Found{FoundAt: time.Now()}, State: ingest.Done, FinishedAt: time.Now()})
	rec := httptest.NewRecorder()
	d.metrics.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	there := map[string][]string{} // name → labels
	for line := range strings.Lines(rec.Body.String()) {
		if m := seriesLine.FindStringSubmatch(line); m != nil {
			for _, l := range labelOf.FindAllStringSubmatch(m[2], -1) {
				there[m[1]] = append(there[m[1]], l[1])
			}
			there[m[1]] = append(there[m[1]], "instance", "job") // a scrape's own
		}
	}
	if there["ingestd_sink_up"] == nil || there["ingestd_alerts_open"] == nil {
		t.Fatal("no health is shown")
	}

	check := func(where, expr string) {
		if strings.Count(expr, "(") != strings.Count(expr, ")") {
			t.Errorf("%s: %s: parentheses", where, expr)
		}
		for _, m := range metricUsed.FindAllStringSubmatch(expr, -1) {
			labels := there[m[1]]
			if labels == nil {
				t.Errorf("%s: there is no metric %s", where, m[1])
				continue
			}
			for _, l := range labelOf.FindAllStringSubmatch(m[2], -1) {
				if !slices.Contains(labels, l[1]) {
					t.Errorf("%s: %s has no label %s", where, m[1], l[1])
				}
			}
		}
	}

	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
		Annotations struct{ List []struct{ Expr string } }
		Templating  struct{ List []struct{ Query any } }
	}
	b, err := fs.ReadFile(samples.FS(), "prometheus/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &dashboard); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	for _, p := range dashboard.Panels {
		if ids[p.ID] || len(p.Targets) == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %q: %+v", p.Title, p)
		}
		ids[p.ID] = true
		for _, q := range p.Targets {
			check(p.Title, q.Expr)
		}
	}
	for _, a := range dashboard.Annotations.List {
		check("annotation", a.Expr)
	}
	for _, v := range dashboard.Templating.List {
		if q, ok := v.Query.(map[string]any); ok {
			check("variable", q["query"].(string))
		}
	}
	if len(ids) < 12 {
		t.Errorf("%d panels", len(ids))
	}

	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	b, err = fs.ReadFile(samples.FS(), "prometheus/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, &rules); err != nil {
		t.Fatal(err)
	}
	if len(rules.Groups) == 0 {
		t.Fatal("no rules")
	}
	for _, r := range rules.Groups[0].Rules {
		check(r.Alert, r.Expr)
		if _, err := time.ParseDuration(r.For); r.For != "" && err != nil || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("rule %+v", r)
		}
		for _, m := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(r.Annotations["summary"]+r.Annotations["description"], -1) {
			for _, u := range metricUsed.FindAllStringSubmatch(r.Expr, -1) {
				if !slices.Contains(there[u[1]], m[1]) {
					t.Errorf("rule %s: %s has no label %s", r.Alert, u[1], m[1])
				}
			}
		}
	}
}
