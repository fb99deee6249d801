package daemon

import (
	"testing"

	"ingestd/samples"
)

// TestDropSample holds the sample against the rooms that read it.
func TestDropSample(t *testing.T) {
	cfg, problems := loadText(t, string(samples.SFTPDrop()))
	if cfg == nil {
		t.Fatal(problems.Err())
	}
	u := dropUsers(cfg)
	if len(u) != 1 || u[0].Name != "acme" || len(u[0].Folders) != 1 || u[0].Folders[0] != "orders" {
		t.Errorf("users: %+v", u)
	}
	if d := folderOf(&cfg.Pipeline("acme_orders").Source); d.Path != u[0].Home+"/orders" || d.Settle != 0 {
		t.Errorf("folder: %+v", d)
	}
}

func TestBeneath(t *testing.T) {
	for _, tt := range []struct {
		name, folder, want string
		in                 bool
	}{
		{"orders/a.csv", "orders", "a.csv", true},
		{"orders/x/a.csv", "orders", "x/a.csv", true},
		{"a.csv", ".", "a.csv", true},
		{"orders2/a.csv", "orders", "orders2/a.csv", false},
	} {
		if got, in := beneath(tt.name, tt.folder); got != tt.want || in != tt.in {
			t.Errorf("%s in %s: %q, %v", tt.name, tt.folder, got, in)
		}
	}
}
