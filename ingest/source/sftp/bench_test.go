package sftp

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/source/sftp/sshdtest"
	"ingestd/ingest/spool"
)

// BenchmarkFetch pulls 200 MB from a real sshd, turn and turn about with
// OpenSSH's own sftp, and gives the ratio of the speeds. Ours also makes the
// bytes durable.
func BenchmarkFetch(b *testing.B) {
	client, err := exec.LookPath("sftp")
	if err != nil {
		b.Skip("there is no sftp here; .ci/need sftp installs it")
	}
	const size = 200 << 20
	sshd := sshdtest.Start(b)
	dir, local := b.TempDir(), b.TempDir()
	f, err := os.Create(filepath.Join(dir, "big.csv"))
	if err != nil {
		b.Fatal(err)
	}
	for i := range size >> 20 {
		f.Write(content(i, 1<<20))
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	sp, err := spool.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	src, err := New(Options{
		Pipeline: "bench", Path: dir, Spool: sp,
		Server: Server{
			Host: sshd.Addr, User: sshd.User, Pins: Pins{Keys: sshd.HostKeys},
			Auth: Auth{Keys: []ingest.Secret{ingest.NewSecret(sshd.Key)}},
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer src.Close()
	host, port, _ := net.SplitHostPort(sshd.Addr)
	var ours, theirs time.Duration
	var peak uint64
	for b.Loop() {
		got := filepath.Join(local, "big.csv")
		start := time.Now()
		cmd := exec.Command(client, "-q", "-b", "-", "-P", port, "-i", sshd.KeyFile, "-o", "UserKnownHostsFile="+sshd.KnownHosts,
			"-o", "IdentitiesOnly=yes", "-F", "none", sshd.User+"@"+host)
		r, w, err := os.Pipe()
		if err != nil {
			b.Fatal(err)
		}
		w.WriteString("get " + filepath.Join(dir, "big.csv") + " " + got + "\n")
		w.Close()
		cmd.Stdin = r
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("sftp: %v\n%s", err, out)
		}
		r.Close()
		theirs += time.Since(start)
		os.Remove(got)

		in := newInbox()
		start = time.Now()
		if err := src.Sweep(context.Background(), in); err != nil || len(in.all()) != 1 {
			b.Fatalf("Sweep: %v, %d files", err, len(in.all()))
		}
		ours += time.Since(start)
		src.pool.drain()
		os.Remove(in.all()[0].Path)
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapSys)
	}
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "of-OpenSSH's-speed")
	b.ReportMetric(float64(size)*float64(b.N)/1e6/theirs.Seconds(), "OpenSSH-MB/s")
	b.ReportMetric(float64(size)*float64(b.N)/1e6/ours.Seconds(), "our-MB/s")
	b.ReportMetric(float64(peak)/(1<<20), "heap-MiB")
}
