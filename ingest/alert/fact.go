package alert

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"ingestd/ingest"
)

// This file has the words. Whoever reads them has just been woken up: what
// happened, where, and the command that comes next.

// Bounds of what is quoted, in bytes.
const (
	maxName   = 200
	maxReason = 500
)

// quote makes foreign text fit for one line of a message.
func quote(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

func name(s string) string   { return quote(s, maxName) }
func reason(s string) string { return strings.TrimRight(quote(s, maxReason), ". ") }

func some(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(n, 10) + " " + many
}

// HeldFact is about the held arrivals of a pipeline, the newest last. There is
// at least one.
func HeldFact(pipeline string, held []ingest.Arrival) Fact {
	last := &held[len(held)-1]
	f := Fact{
		Kind: Held, Severity: Warning, Pipelines: []string{pipeline}, Arrival: last.ID, Name: last.Name,
		Since: held[0].FoundAt, Mark: last.ID,
		Message: fmt.Sprintf("%s: the file %s is held and nothing of it was sent: %s", pipeline, name(last.Name), reason(last.Error)),
		Action:  fmt.Sprintf("look: ingestd show %[1]d; then take it as it is: ingestd release %[1]d; or refuse it: ingestd reject %[1]d", last.ID),
	}
	if strings.Contains(last.Error, ingest.ErrBodyChanged.Error()) {
		f.Kind, f.Severity = Rebuilt, Critical
		f.Message = fmt.Sprintf("%s: the file %s stopped half way, because what would be sent now is not what was claimed before: %s", pipeline, name(last.Name), reason(last.Error))
		f.Action = fmt.Sprintf("look: ingestd show %[1]d; was the file or a look-up table changed? Put it back, then: ingestd release %[1]d; or give the rest up: ingestd reject %[1]d", last.ID)
	}
	if len(held) > 1 {
		f.Message = fmt.Sprintf("%s: %d files are held and nothing of them was sent; the newest is %s: %s", pipeline, len(held), name(last.Name), reason(last.Error))
		f.Action = fmt.Sprintf("list them: ingestd arrivals -p %s --state held; then for each: ingestd release ID, or: ingestd reject ID", pipeline)
	}
	return f
}

// FailedFact is about n arrivals that failed, the newest of which is last.
func FailedFact(last *ingest.Arrival, n int64, since time.Time) Fact {
	f := Fact{
		Kind: Failed, Severity: Warning, Pipelines: []string{last.Pipeline}, Arrival: last.ID, Name: last.Name, Since: since, Mark: last.ID,
		Message: fmt.Sprintf("%s: the file %s failed: %s; %s delivered before that, and count", last.Pipeline, name(last.Name), reason(last.Error),
			some(last.Counts.Delivered, "record was", "records were")),
		Action: fmt.Sprintf("look: ingestd show %[1]d; then ask the partner to send the file again, or, once the cause is mended: ingestd replay %[1]d", last.ID),
	}
	if n > 1 {
		f.Message = fmt.Sprintf("%s: %d files failed; the newest is %s: %s", last.Pipeline, n, name(last.Name), reason(last.Error))
		f.Action = fmt.Sprintf("list them: ingestd arrivals -p %s --state failed; then ask the partner to send them again, or, once the cause is mended: ingestd replay ID", last.Pipeline)
	}
	return f
}

// DeadFact is about the n dead letters of a pipeline; last is the newest
// arrival that has some, where known, and mark rises with each.
func DeadFact(pipeline string, n int64, last *ingest.Arrival, since time.Time, mark int64) Fact {
	what, are := "1 record could not be delivered and is kept as a dead letter", "is"
	if n != 1 {
		what, are = fmt.Sprintf("%d records could not be delivered and are kept as dead letters", n), "are"
	}
	f := Fact{
		Kind: Dead, Severity: Warning, Pipelines: []string{pipeline}, Since: since, Mark: mark,
		Message: pipeline + ": " + what,
		Action: fmt.Sprintf("look: ingestd dead list -p %[1]s; then, once they or the config are mended: ingestd dead replay -p %[1]s; or give them up: ingestd dead drop -p %[1]s",
			pipeline),
	}
	if last != nil {
		f.Arrival, f.Name = last.ID, last.Name
		f.Message += "; the newest " + are + " of " + name(last.Name)
	}
	return f
}

// TargetFact is about a sink whose target does not take records: stopped says
// that it refuses everything and a person must mend the sink.
func TargetFact(sink, why string, stopped bool, pipelines []string, waiting int64, since time.Time) Fact {
	f := Fact{
		Kind: Target, Severity: Critical, Pipelines: pipelines, Subject: sink, Since: since,
		Message: fmt.Sprintf("the target of sink %s does not take records: %s; %s for it and nothing is lost", sink, reason(why), some(waiting, "file waits", "files wait")),
		Action:  fmt.Sprintf("try it: ingestd sink test %s; then tell whoever runs the target. ingestd goes on by itself when it is back", sink),
	}
	if stopped {
		f.Kind = Refused
		f.Message = fmt.Sprintf("the target of sink %s refuses everything: %s; %s for it and nothing is lost", sink, reason(why), some(waiting, "file waits", "files wait"))
		f.Action = fmt.Sprintf("mend url or auth of sink %[1]s in the config, or have the target mended; then: ingestd check && ingestd reload; and: ingestd sink test %[1]s", sink)
	}
	return f
}

// SourceFact is about a source that cannot do its work.
func SourceFact(pipeline string, err error, since time.Time) Fact {
	if t, ok := trouble(err); ok && t.Kind == ingest.TroubleHostKey {
		f := Fact{
			Kind: HostKey, Severity: Critical, Pipelines: []string{pipeline}, Since: since,
			Message: fmt.Sprintf("%s: the server of its source shows another host key than the known one, so nothing is fetched: %s", pipeline, reason(err.Error())),
			Action:  quote(t.Action, maxReason),
		}
		if f.Action == "" {
			f.Action = "call the partner and ask for the new key's fingerprint; only if it is the one shown by: ingestd sftp trust HOST, put the printed line under host_keys, then: ingestd reload"
		}
		return f
	}
	f := Fact{
		Kind: Source, Severity: Critical, Pipelines: []string{pipeline}, Since: since,
		Message: fmt.Sprintf("%s: its source cannot be read, so nothing new is taken up: %s", pipeline, reason(err.Error())),
		Action:  "try it: ingestd check --connect; ingestd goes on by itself when the source is back",
	}
	if t, ok := trouble(err); ok && t.Action != "" {
		f.Action = quote(t.Action, maxReason)
	}
	return f
}

// StuckFact is about ended files that could not be put away where they came from.
func StuckFact(pipeline string, err error, since time.Time) Fact {
	return Fact{
		Kind: Source, Severity: Warning, Pipelines: []string{pipeline}, Subject: "put away", Since: since,
		Message: fmt.Sprintf("%s: %s", pipeline, reason(err.Error())),
		Action:  "see what the user may do there: ingestd check --connect; ingestd goes on by itself once it may",
	}
}

func trouble(err error) (*ingest.Trouble, bool) {
	var t *ingest.Trouble
	ok := errors.As(err, &t)
	return t, ok
}

// DiskFact is about a filesystem: low says that less than min_free is left, and
// that everything pauses; otherwise less than twice that.
func DiskFact(dir string, free, need uint64, low bool, since time.Time) Fact {
	f := Fact{
		Kind: Disk, Severity: Warning, Subject: dir, Since: since,
		Message: fmt.Sprintf("the disk of %s is filling up: %d MiB are free; below %d MiB (min_free) ingestd takes nothing more up", quote(dir, maxName), free>>20, need>>20),
		Action:  "find what fills it: df -h " + quote(dir, maxName) + "; old files of ingestd's own go with: ingestd ledger prune",
	}
	if low {
		f.Severity = Critical
		f.Message = fmt.Sprintf("the disk of %s is nearly full: %d MiB are free, min_free asks for %d MiB; ingestd takes nothing more up until there is room", quote(dir, maxName), free>>20, need>>20)
	}
	return f
}

// Certificates are told of when they end within notice; critical is when it
// becomes urgent.
const (
	notice = 21 * 24 * time.Hour
	urgent = 3 * 24 * time.Hour
)

// CertificateFact is about a certificate; ok is false while it is good for long
// enough. what names it ("the certificate of sink crm (crm.example.com)"), and
// do says how to renew it.
func CertificateFact(subject, what, do string, pipelines []string, ends, now time.Time) (f Fact, ok bool) {
	left := ends.Sub(now)
	if left > notice || ends.IsZero() {
		return Fact{}, false
	}
	f = Fact{
		Kind: Certificate, Severity: Warning, Pipelines: pipelines, Subject: subject, Since: ends.Add(-notice),
		Message: fmt.Sprintf("%s ends on %s, in %s", what, day(ends), some(int64(left/(24*time.Hour)), "day", "days")),
		Action:  do,
	}
	if left < urgent {
		f.Severity = Critical
	}
	if left <= 0 {
		f.Message = fmt.Sprintf("%s ended on %s", what, day(ends))
	}
	return f, true
}

// CrashFact is about an arrival that was begun again and again.
func CrashFact(a *ingest.Arrival) Fact {
	return Fact{
		Kind: CrashLoop, Severity: Critical, Pipelines: []string{a.Pipeline}, Subject: strconv.FormatInt(a.ID, 10),
		Arrival: a.ID, Name: a.Name, Since: a.StartedAt,
		Message: fmt.Sprintf("%s: the file %s was begun %d times and ingestd ended each time before any of it was settled; it now comes after the others, with pauses",
			a.Pipeline, name(a.Name), a.Starts),
		Action: fmt.Sprintf("look: ingestd show %d; and why the process ended: journalctl -u ingestd -p warning", a.ID),
	}
}

// alertsFact is about a sink that cannot tell.
func alertsFact(sink, why string, since time.Time) Fact {
	return Fact{
		Kind: Alerts, Severity: Critical, Subject: sink, Since: since,
		Message: fmt.Sprintf("alerts cannot be sent through sink %s: %s; they are kept and sent when it is back", sink, reason(why)),
		Action:  "try it: ingestd alert test; what is open: ingestd status",
	}
}

func day(t time.Time) string    { return t.UTC().Format(time.DateOnly) }
func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
