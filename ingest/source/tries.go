package source

import (
	"errors"
	"fmt"
	"time"
)

// First waits before another look, doubled with each try.
const (
	shortly = 10 * time.Millisecond // for what others are about to finish
	later   = 5 * time.Second       // for what a person must mend
)

// Again says that the try to take a file up found it in another state, e: it
// settles anew.
func (t *Tracker) Again(e Entry) {
	tries := uint8(0)
	if it := t.items[e.Name]; it != nil {
		tries, it.void = it.tries, true
	}
	t.Look(e)
	if it := t.items[e.Name]; it != nil {
		// Where settle is zero this keeps a file that changes with every try from
		// being tried without a pause.
		it.tries = tries
		t.hold(it, backoff(it, shortly, time.Second))
	}
}

// Busy says that a file that is ripe by its looks is still open for writing.
// It is looked at again soon, and reports true once it has been unchanged for
// so long that it is to be taken up nevertheless: whoever holds it open may
// never close it, and the arrival's size and mtime are looked at once more
// after reading.
func (t *Tracker) Busy(name string) (anyway bool) {
	it := t.items[name]
	if it == nil {
		return false
	}
	quiet := t.now() - it.since
	if quiet >= t.rules.Settle+t.grace() {
		t.say(it, StillOpen, errors.New("unchanged for long but still open for writing; taken up nevertheless"))
		return true
	}
	t.hold(it, clamp((quiet-t.rules.Settle)/4, shortly, time.Second))
	return false
}

// hold keeps an item from being ripe for d.
func (t *Tracker) hold(it *item, d time.Duration) {
	now := t.now()
	it.hold = now + d
	t.judge(it, now)
}

// grace is how much longer than settle an unchanged file may be held open, and
// a sweep waits for one that changes.
func (t *Tracker) grace() time.Duration { return max(time.Minute, 10*t.rules.Settle) }

// Refuse says that a file that is ripe could not be taken up. It is tried
// again with growing delay, at once when it changes.
func (t *Tracker) Refuse(name string, kind Kind, err error) {
	it := t.items[name]
	if it == nil {
		return
	}
	t.say(it, kind, err)
	t.hold(it, backoff(it, later, 10*time.Minute))
}

// Pending reports whether anything is about to become ripe by itself, for
// sweeps: not what is a problem, unproven, waits for its done_file or has another link.
func (t *Tracker) Pending() bool {
	now := t.now()
	for _, it := range t.queue {
		if it.told == 0 && it.doubt == nil && (it.Links <= 1 || now-it.linked < t.rules.Settle+time.Second) {
			return true
		}
	}
	return false
}

// Patience is how long a sweep waits for files that keep changing.
func (t *Tracker) Patience() time.Duration { return t.rules.Settle + t.grace() }

// Leave tells of what is pending as problems, at the end of a sweep; of all that
// wait for a done_file or sidecar at once, which may be many.
func (t *Tracker) Leave() {
	for _, it := range t.queue {
		switch {
		case it.told != 0:
		case it.doubt != nil:
			t.say(it, Unproven, it.doubt)
		case it.Links > 1:
			t.say(it, Linked, errLinked)
		default:
			t.say(it, Unsettled, errors.New("is still being written; run again when it is whole"))
		}
	}
	t.leaveUnmarked()
}

func (t *Tracker) leaveUnmarked() {
	var first *item
	others := -1
	for _, it := range t.items {
		if !t.lacks(it) || it.told != 0 {
			continue
		}
		if others++; first == nil || it.Name < first.Name {
			first = it
		}
	}
	if first == nil {
		return
	}
	lacking := t.filter.Sidecar(first.Name)
	if t.rules.DoneFile != "" && !t.marked(first.Name) {
		lacking = t.filter.Marker(first.Name)
	}
	err := fmt.Errorf("waits for %q; run again when that is there", lacking)
	if others > 0 {
		err = fmt.Errorf("%w (%d more files wait for theirs)", err, others)
	}
	t.say(first, Unmarked, err)
}

// say tells of a problem unless it was told about the file in this state.
func (t *Tracker) say(it *item, kind Kind, err error) {
	if it.told == kind {
		return
	}
	it.told = kind
	t.tell(&Problem{Kind: kind, Name: it.Name, Size: it.Size, Err: err})
}

// backoff doubles from first to most with each of an item's tries.
func backoff(it *item, first, most time.Duration) time.Duration {
	d := most
	if it.tries < 16 {
		d = min(most, first<<it.tries)
	}
	if it.tries < 255 {
		it.tries++
	}
	return d
}

func clamp(d, least, most time.Duration) time.Duration { return min(max(d, least), most) }
