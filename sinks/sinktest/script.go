package sinktest

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// What a Step can do.
const (
	Accept  = ""        // take the request, unless the script refuses it
	Status  = "status"  // answer Step.Status
	Reset   = "reset"   // cut the connection with a TCP reset
	Hang    = "hang"    // say nothing until Release or the client goes
	Half    = "half"    // answer half a status line and close
	Cut     = "cut"     // answer the accept status and half of the promised body
	Endless = "endless" // answer the accept status and a body without end
)

// A Step is what happens to one request.
type Step struct {
	Do         string `json:"do,omitempty"`
	Status     int    `json:"status,omitempty"`
	RetryAfter string `json:"retry_after,omitempty"` // the header, as it is
	Location   string `json:"location,omitempty"`    // the header, as it is
	Body       string `json:"body,omitempty"`        // of the answer
	After      bool   `json:"after,omitempty"`       // the request is taken first; half, cut and endless always do
	Unread     bool   `json:"unread,omitempty"`      // the request's body is not read
	Delay      int    `json:"delay_ms,omitempty"`    // milliseconds before anything is answered
}

// A Chance is a Step that happens to a share of the requests.
type Chance struct {
	P float64 `json:"p"` // from 0 to 1
	Step
}

// A Script is how a target behaves. The zero Script accepts everything.
type Script struct {
	Steps   []Step   `json:"steps,omitempty"`   // for the first requests, in turn
	Weather []Chance `json:"weather,omitempty"` // for the others; the P together are at most 1

	AcceptStatus int    `json:"accept_status,omitempty"` // default 200
	AcceptBody   string `json:"accept_body,omitempty"`   // default {"ok":true}
	Known        int    `json:"known,omitempty"`         // status for a request it has; default: as for a new one

	Refuse       []string `json:"refuse,omitempty"`        // ids; a request with one is refused whole
	RefuseStatus int      `json:"refuse_status,omitempty"` // default 422
	MaxBytes     int      `json:"max_bytes,omitempty"`     // larger bodies get 413
	Records      *Records `json:"records,omitempty"`       // answer for each record by itself
	Always       *Step    `json:"always,omitempty"`        // instead of all else: down, unauthorized, moved
}

// compiled is a Script ready for use.
type compiled struct {
	Script
	refuse map[string]bool
}

func (s Script) compile() (*compiled, error) {
	sum := 0.0
	for _, c := range s.Weather {
		if c.P < 0 {
			return nil, fmt.Errorf("a probability of %v", c.P)
		}
		sum += c.P
		if err := c.check(); err != nil {
			return nil, err
		}
	}
	if sum > 1.000001 {
		return nil, fmt.Errorf("probabilities add up to %v", sum)
	}
	for _, st := range s.Steps {
		if err := st.check(); err != nil {
			return nil, err
		}
	}
	if s.Always != nil {
		if err := s.Always.check(); err != nil {
			return nil, err
		}
	}
	if s.Records != nil {
		if err := s.Records.check(); err != nil {
			return nil, err
		}
		own := *s.Records
		if own.Answer == 0 {
			own.Answer = 207
		}
		s.Records = &own
	}
	if s.AcceptStatus == 0 {
		s.AcceptStatus = 200
	}
	if s.AcceptBody == "" {
		s.AcceptBody = `{"ok":true}`
	}
	if s.Known == 0 {
		s.Known = s.AcceptStatus
	}
	if s.RefuseStatus == 0 {
		s.RefuseStatus = 422
	}
	c := &compiled{Script: s, refuse: make(map[string]bool, len(s.Refuse))}
	for _, id := range s.Refuse {
		c.refuse[id] = true
	}
	return c, nil
}

func (st Step) check() error {
	switch st.Do {
	case Accept, Reset, Hang, Half, Cut, Endless:
		return nil
	case Status:
		if st.Status < 200 || st.Status > 999 {
			return fmt.Errorf("status %d", st.Status)
		}
		return nil
	}
	return fmt.Errorf("a step cannot do %q", st.Do)
}

// weather is the Step for the n-th request: the same for the same seed.
func (s *compiled) weather(seed, n uint64) Step {
	if len(s.Weather) == 0 {
		return Step{}
	}
	x := rand.New(rand.NewPCG(seed, n)).Float64()
	for _, c := range s.Weather {
		if x < c.P {
			return c.Step
		}
		x -= c.P
	}
	return Step{}
}

func (st Step) delay() time.Duration { return time.Duration(st.Delay) * time.Millisecond }

// takes reports whether the target has the request although the sender may not
// learn it.
func (st Step) takes() bool {
	return st.After || st.Do == Accept || st.Do == Half || st.Do == Cut || st.Do == Endless
}
