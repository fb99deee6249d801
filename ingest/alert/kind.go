// Package alert tells people what needs one of them: once when it begins, again
// as a reminder while it lasts, and once when it is over.
//
// It works on state, not on events: every few seconds it asks what is the case
// (Options.Look), compares that with what each of those who are told knows
// (ingest.AlertBook, which survives restarts), and says the difference. So
// nothing is lost while a chat is down, nothing piles up, and a restart neither
// repeats nor forgets anything. What is about the same thing is one alert with
// a count, however many files or records it grows to.
//
// Telling goes through a sink that is given to it, in goroutines of its own: it
// never holds up a delivery. A sink is never told that it is down itself.
//
// The package also has the heartbeat for a dead man's switch, and judges what
// pipelines expect to arrive.
package alert

import (
	"slices"
	"time"
)

// A Kind says what an alert is about, as `alerts: kinds` has it.
type Kind string

// The kinds.
const (
	Held        Kind = "held"        // an arrival waits for a person's release or reject
	Failed      Kind = "failed"      // an arrival could not be read to its end
	Late        Kind = "late"        // nothing has come by the time that is expected
	Missing     Kind = "missing"     // nor by the time at which the next one is awaited
	Empty       Kind = "empty"       // fewer records came than expect.min_records
	Size        Kind = "size"        // far more or far fewer records came than usual
	Dead        Kind = "dead"        // records became dead letters
	Target      Kind = "target"      // a target does not answer
	Refused     Kind = "refused"     // a target refuses everything; its sink is stopped
	Source      Kind = "source"      // a source cannot be read
	HostKey     Kind = "host_key"    // a server shows another host key
	Disk        Kind = "disk"        // a filesystem is nearly full
	Certificate Kind = "certificate" // a certificate ends soon
	CrashLoop   Kind = "crash_loop"  // an arrival was begun again and again
	Rebuilt     Kind = "body"        // a rebuilt request differs from the one that was claimed
	Alerts      Kind = "alerts"      // alerts cannot be sent
	Test        Kind = "test"        // a person asked for it
)

// all are the kinds that a route may ask for.
func all() []Kind {
	return []Kind{Held, Failed, Late, Missing, Empty, Size, Dead, Target, Refused, Source, HostKey, Disk, Certificate, CrashLoop, Rebuilt, Alerts}
}

// Kinds lists what `kinds` may name, beside "all".
func Kinds() []string {
	var out []string
	for _, k := range all() {
		out = append(out, string(k))
	}
	return out
}

// A Severity says how soon somebody should look.
type Severity string

// The severities.
const (
	Info     Severity = "info"     // nothing to do
	Warning  Severity = "warning"  // within the day
	Critical Severity = "critical" // now
)

func (s Severity) rank() int { return slices.Index([]Severity{Info, Warning, Critical}, s) }

// A Fact is something that is the case now and needs a person.
type Fact struct {
	Kind      Kind
	Severity  Severity
	Pipelines []string // that it concerns; none: all
	Subject   string   // what tells it from others of its kind and pipeline: a sink, a folder
	Arrival   int64    // the newest that it is about; 0 where there is none
	Name      string   // of that arrival
	Message   string   // what happened and where, a sentence without its end
	Action    string   // what to do next, commands and all
	Since     time.Time
	// Mark rises when there is more of it: another file, another record. Zero
	// says nothing.
	Mark int64
}

// pacing is how long a kind must last before it is told, and how long it must
// be gone before it counts as over.
type pacing struct{ hold, stable time.Duration }

func (k Kind) pacing() pacing {
	switch k {
	case Target, Refused:
		return pacing{time.Minute, 5 * time.Minute}
	case Source, Alerts:
		return pacing{2 * time.Minute, 2 * time.Minute}
	case Disk:
		return pacing{0, 2 * time.Minute}
	case Late, Missing, Certificate:
		return pacing{}
	}
	return pacing{0, time.Minute}
}
