package source

import "time"

// How long what is unchanged and unproven is waited for.
const (
	// DoubtedFor: an unproven file is a problem after this long. Before, the one
	// or the other is probably still on its way.
	DoubtedFor = time.Minute
	// ProofFor: after this long nothing more will come; it is taken up to fail,
	// so that its sender hears of it.
	ProofFor = 10 * time.Minute
)

func (t *Tracker) lookSidecar(data string, e Entry) {
	if !e.Mode.IsRegular() {
		t.Gone(e.Name)
		return
	}
	s := t.sides[data]
	if s != nil && s.Same(&e) {
		s.scan = t.scan
		return
	}
	if s == nil && len(t.sides) >= 2*t.rules.Limit {
		return
	}
	now := t.now()
	t.sides[data] = &side{Entry: e, since: now, scan: t.scan}
	if it := t.items[data]; it != nil {
		it.hold, it.doubt = 0, nil
		if it.told == Unproven {
			it.told = 0
		}
		if !it.ready {
			t.schedule(it, now) // looked at afresh before it is taken
		}
	}
}

func (t *Tracker) unprove(data string) {
	delete(t.sides, data)
	if it := t.items[data]; it != nil {
		t.judge(it, t.now())
	}
}

// Unproven says that a file that is ripe by its looks is not what its sidecar
// or its trailer says, and why. It is looked at again once one of them changes.
// It reports true where both have been unchanged for ProofFor: nothing more
// will come, and the file is to be taken up as one that fails.
func (t *Tracker) Unproven(name string, err error) (finally bool) {
	it := t.items[name]
	if it == nil {
		return false
	}
	since := it.since
	if s := t.sides[name]; s != nil {
		since = max(since, s.since)
	}
	it.doubt = err
	switch quiet := t.now() - since; {
	case quiet >= ProofFor:
		return true
	case quiet >= DoubtedFor:
		t.say(it, Unproven, err)
		t.hold(it, ProofFor-quiet)
	default:
		t.hold(it, DoubtedFor-quiet)
	}
	return false
}
