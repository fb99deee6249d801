package httpapi

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// A StatusRange is HTTP statuses from First to Last, both included.
type StatusRange struct{ First, Last int }

// ParseStatusRange reads "2xx", "409" or "200-204".
func ParseStatusRange(s string) (StatusRange, error) {
	bad := fmt.Errorf("%q is no status: write 409, 2xx or 200-204", s)
	if len(s) == 3 && strings.EqualFold(s[1:], "xx") && s[0] >= '1' && s[0] <= '5' {
		n := int(s[0]-'0') * 100
		return StatusRange{n, n + 99}, nil
	}
	a, b, ranged := strings.Cut(s, "-")
	first, ok := statusNumber(a)
	if !ok {
		return StatusRange{}, bad
	}
	last := first
	if ranged {
		if last, ok = statusNumber(b); !ok || last < first {
			return StatusRange{}, bad
		}
	}
	return StatusRange{first, last}, nil
}

func statusNumber(s string) (int, bool) {
	if len(s) != 3 {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 100 && n <= 599
}

func (r StatusRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(r.First)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

func includes(rs []StatusRange, status int) bool {
	for _, r := range rs {
		if r.First <= status && status <= r.Last {
			return true
		}
	}
	return false
}

// statusText is a status in words that are ours, never the target's.
func statusText(status int) string {
	if t := http.StatusText(status); t != "" {
		return strconv.Itoa(status) + " " + t
	}
	return strconv.Itoa(status)
}
