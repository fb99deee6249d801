package main

import (
	"fmt"
	"io"
	"time"

	"ingestd/ingest/admin"
)

// reasonWidth is how much of a reason the status screen shows; `show` and
// --json have all of it.
const reasonWidth = 160

// writeStatus writes the status screen: what needs a person comes first.
func writeStatus(w io.Writer, s *admin.Status, now time.Time) {
	if s.Running {
		up := ""
		if s.StartedAt != nil {
			up = fmt.Sprintf(", up since %s", past(s.StartedAt, now))
		}
		fmt.Fprintf(w, "ingestd %s runs as process %d%s\n", s.Version, s.PID, up)
	} else {
		fmt.Fprintf(w, "no daemon runs on %s\n", printable(s.StateDir))
	}
	if f := s.SFTPServer; f != nil {
		fmt.Fprintf(w, "sftp server on %s, %s\n", f.Listen, some(int64(f.Connections), "connection"))
		for _, k := range f.HostKeys {
			fmt.Fprintf(w, "  host key %s\n", k)
		}
	}
	if s.DiskLow != "" {
		fmt.Fprintf(w, "paused: the disk is nearly full: %s\n", printable(s.DiskLow))
	}
	if len(s.Alerts) == 0 {
		fmt.Fprintln(w, "nothing needs a person")
	}
	for i := range s.Alerts {
		o := &s.Alerts[i]
		fmt.Fprintf(w, "%s: %s (since %s)\n    %s\n", o.Severity, printable(o.Message), past(o.Since, now), printable(o.Action))
	}
	fmt.Fprintln(w)
	writePipelines(w, s.Pipelines, now)
	fmt.Fprintln(w)
	writeSinks(w, s.Sinks, now)
}

func writePipelines(w io.Writer, list []admin.PipelineStatus, now time.Time) {
	t := newTable("PIPELINE", "STATE", "WAITING", "HELD", "DEAD", "RECORDS/S", "LAST ARRIVAL", "NEXT EXPECTED BY")
	for i := range list {
		p := &list[i]
		rate, last := "", "none yet"
		if p.Rate > 0 {
			rate = fmt.Sprintf("%.1f", p.Rate)
		}
		if p.LastArrival != nil {
			last = fmt.Sprintf("%s  %s %s", past(p.LastArrival, now), cut(printable(p.LastName), 40), p.LastState)
		}
		t.AppendRow([]any{p.Name, p.State, p.Waiting, p.Held, p.Dead, rate, last, ahead(p.ExpectedBy, now)})
	}
	fmt.Fprintln(w, t.Render())
	for i := range list {
		p := &list[i]
		if p.Waits != "" {
			fmt.Fprintf(w, "%s: %s %s: %s\n", p.Name, some(p.Waiting, "arrival"), verb(p.Waiting), cut(printable(p.Waits), reasonWidth))
		}
		if p.Error != "" {
			since := ""
			if p.State == "error" || p.State == "paused" {
				since = " since " + past(p.Since, now)
			}
			fmt.Fprintf(w, "%s: %s%s\n", p.Name, cut(printable(p.Error), reasonWidth), since)
		}
	}
}

func verb(n int64) string {
	if n == 1 {
		return "waits"
	}
	return "wait"
}

func writeSinks(w io.Writer, list []admin.SinkStatus, now time.Time) {
	t := newTable("SINK", "STATE", "SINCE", "NEXT TRY")
	for i := range list {
		t.AppendRow([]any{list[i].Name, list[i].State, past(list[i].Since, now), ahead(list[i].Next, now)})
	}
	fmt.Fprintln(w, t.Render())
	for i := range list {
		if k := &list[i]; k.Error != "" {
			fmt.Fprintf(w, "%s: %s\n", k.Name, cut(printable(k.Error), reasonWidth))
		}
	}
}

// past shows a time of the past as the clock shows it, and how long ago that is.
func past(t *time.Time, now time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return near(*t, now) + " (" + span(now.Sub(*t)) + " ago)"
}

// ahead is past for a time to come.
func ahead(t *time.Time, now time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return near(*t, now) + " (in " + span(t.Sub(now)) + ")"
}

// near leaves out the day where it is today, in the zone of now.
func near(t, now time.Time) string {
	t = t.In(now.Location())
	y, m, d := t.Date()
	if ny, nm, nd := now.Date(); y == ny && m == nm && d == nd {
		return t.Format(time.TimeOnly)
	}
	if d := t.Sub(now); d > 0 && d < 7*24*time.Hour {
		return t.Format("Mon 15:04")
	}
	return t.Format("2006-01-02 15:04")
}

// span is a duration in one unit, as people say it.
func span(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
