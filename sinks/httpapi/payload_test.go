package httpapi

import "testing"

// TestPayloadGoesBackOnlyForCertain: its memory is used again only where the
// connection came back idle and nobody asked for a second body.
func TestPayloadGoesBackOnlyForCertain(t *testing.T) {
	for _, idle := range []bool{false, true} {
		for _, again := range []bool{false, true} {
			freed := false
			p := &payload{b: []byte("x"), free: func() { freed = true }}
			if idle {
				p.trace().PutIdleConn(nil)
			} else {
				p.trace().PutIdleConn(errNoScheme) // not given back
			}
			if again {
				if _, err := p.again(); err != nil {
					t.Fatal(err)
				}
			}
			p.release()
			if freed != (idle && !again) {
				t.Errorf("idle %v, again %v: freed %v", idle, again, freed)
			}
		}
	}
}
