package config

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// MinFree is how much of a filesystem must stay free: a share, or a size.
type MinFree struct {
	Percent float64 // of the filesystem's size, 0 to 100; used where Bytes is 0
	Bytes   int64
}

// Of is the bytes that must stay free on a filesystem of size bytes.
func (m MinFree) Of(size uint64) uint64 {
	if m.Bytes > 0 {
		return uint64(m.Bytes)
	}
	return uint64(float64(size) / 100 * m.Percent)
}

func (m MinFree) String() string {
	if m.Bytes > 0 {
		return formatSize(m.Bytes)
	}
	return formatPercent(m.Percent)
}

// Rate is a number of requests in a span of time. The zero Rate is no limit.
type Rate struct {
	N   int64
	Per time.Duration // a second, a minute or an hour
}

// PerSecond is the rate in requests a second; 0 is no limit.
func (r Rate) PerSecond() float64 {
	if r.Per == 0 {
		return 0
	}
	return float64(r.N) / r.Per.Seconds()
}

func (r Rate) String() string {
	switch r.Per {
	case time.Second:
		return fmt.Sprintf("%d/s", r.N)
	case time.Minute:
		return fmt.Sprintf("%d/m", r.N)
	case time.Hour:
		return fmt.Sprintf("%d/h", r.N)
	}
	return ""
}

// maxNumber bounds the length of a number with its unit, in bytes.
const maxNumber = 32

// number splits s into its leading decimal number and the rest.
func number(s string) (n *big.Rat, rest string, ok bool) {
	i := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if i < 0 {
		i = len(s)
	}
	if i == 0 || len(s) > maxNumber || s[0] == '.' || s[i-1] == '.' {
		return nil, "", false
	}
	n, ok = new(big.Rat).SetString(s[:i])
	return n, s[i:], ok
}

type unit[T any] struct {
	name string
	is   T
}

func durationUnits() []unit[time.Duration] {
	const day = 24 * time.Hour
	return []unit[time.Duration]{
		{"w", 7 * day}, {"d", day}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond},
	}
}

// parseDuration reads 500ms, 2s, 1h30m, 90d, 2w; a day has 24 hours. Units
// stand in falling order.
func parseDuration(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	if strings.HasPrefix(s, "-") {
		return 0, errors.New("is negative")
	}
	if s == "" || len(s) > maxNumber {
		return 0, errors.New("no duration; write one like 500ms, 2s, 5m, 1h30m or 90d")
	}
	var total time.Duration
	units, next := durationUnits(), 0
	for rest := s; rest != ""; {
		n, tail, ok := number(rest)
		if !ok {
			return 0, errors.New("no duration; write one like 500ms, 2s, 5m, 1h30m or 90d")
		}
		name := tail
		if i := strings.IndexFunc(tail, func(r rune) bool { return r >= '0' && r <= '9' || r == '.' }); i >= 0 {
			name = tail[:i]
		}
		rest = tail[len(name):]
		if name == "" {
			return 0, errors.New("has no unit; write 5s for five seconds (ms, s, m for minutes, h, d, w)")
		}
		at := -1
		for i, u := range units {
			if u.name == name {
				at = i
			}
		}
		if at < 0 {
			return 0, errors.New("has an unknown unit (ms, s, m for minutes, h, d, w)")
		}
		if at < next {
			return 0, errors.New("has its units out of order; they fall, each once, as in 1h30m")
		}
		next = at + 1
		n.Mul(n, new(big.Rat).SetInt64(int64(units[at].is)))
		ns := new(big.Int).Quo(n.Num(), n.Denom())
		if !ns.IsInt64() || ns.Int64() > math.MaxInt64-int64(total) {
			return 0, errors.New("is longer than 292 years")
		}
		total += time.Duration(ns.Int64())
	}
	return total, nil
}

// formatDuration is the shortest text that parseDuration reads back exactly;
// what is finer than a millisecond is dropped.
func formatDuration(d time.Duration) string {
	if d <= 0 {
		return "0s"
	}
	var b strings.Builder
	for _, u := range durationUnits() {
		if u.name == "w" && d%u.is != 0 {
			continue // 90d, not 12w6d
		}
		if n := d / u.is; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			d -= n * u.is
		}
	}
	return b.String()
}

func sizeUnits() []unit[int64] {
	return []unit[int64]{
		{"TiB", 1 << 40},
		{"TB", 1e12},
		{"GiB", 1 << 30},
		{"GB", 1e9},
		{"MiB", 1 << 20},
		{"MB", 1e6},
		{"KiB", 1 << 10},
		{"KB", 1e3},
		{"kB", 1e3},
		{"B", 1},
		{"", 1},
	}
}

// parseSize reads bytes: 4096, 64KiB (1,024), 10MB (1,000,000), 1.5GiB.
func parseSize(s string) (int64, error) {
	n, name, ok := number(s)
	if !ok {
		return 0, errors.New("no size; write one like 64KiB, 10MB or 10GiB")
	}
	name = strings.TrimPrefix(name, " ")
	for _, u := range sizeUnits() {
		if u.name != name {
			continue
		}
		n.Mul(n, new(big.Rat).SetInt64(u.is))
		if !n.IsInt() {
			return 0, errors.New("is no whole number of bytes")
		}
		if !n.Num().IsInt64() {
			return 0, errors.New("is more than 8EiB")
		}
		return n.Num().Int64(), nil
	}
	return 0, errors.New("has an unknown unit (KB, MB, GB, TB are powers of 1,000; KiB, MiB, GiB, TiB of 1,024)")
}

func formatSize(n int64) string {
	for _, u := range sizeUnits() {
		if n >= u.is && n%u.is == 0 && u.name != "" && u.name != "B" {
			return strconv.FormatInt(n/u.is, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// parsePercent reads 20% as 20.
func parsePercent(s string) (float64, error) {
	n, rest, ok := number(s)
	if !ok || strings.TrimSpace(rest) != "%" {
		return 0, errors.New("no percentage; write one like 20%")
	}
	f, _ := n.Float64()
	if f > 100 {
		return 0, errors.New("is more than 100%")
	}
	return f, nil
}

func formatPercent(p float64) string { return strconv.FormatFloat(p, 'f', -1, 64) + "%" }

func parseMinFree(s string) (MinFree, error) {
	if strings.HasSuffix(s, "%") {
		p, err := parsePercent(s)
		return MinFree{Percent: p}, err
	}
	n, err := parseSize(s)
	if err != nil {
		return MinFree{}, fmt.Errorf("%w, or 2%%", err)
	}
	return MinFree{Bytes: n}, nil
}

// parseRate reads 50/s, 100/m, 1000/h.
func parseRate(s string) (Rate, error) {
	count, per, ok := strings.Cut(s, "/")
	n, err := strconv.ParseInt(strings.TrimSpace(count), 10, 32)
	spans := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}
	span, known := spans[strings.TrimSpace(per)]
	if !ok || err != nil || !known || n < 1 {
		return Rate{}, errors.New("no rate; write one like 50/s, 100/m or 1000/h")
	}
	return Rate{N: n, Per: span}, nil
}

// Statuses is a set of HTTP statuses.
type Statuses []StatusRange

// A StatusRange is the statuses from Low to High, both included.
type StatusRange struct{ Low, High int }

// Has reports whether status is in the set.
func (s Statuses) Has(status int) bool {
	for _, r := range s {
		if status >= r.Low && status <= r.High {
			return true
		}
	}
	return false
}

func (r StatusRange) String() string {
	switch {
	case r.Low == r.High:
		return strconv.Itoa(r.Low)
	case r.Low%100 == 0 && r.High == r.Low+99:
		return strconv.Itoa(r.Low/100) + "xx"
	}
	return fmt.Sprintf("%d-%d", r.Low, r.High)
}

// parseStatus reads 200, 2xx, 200-204.
func parseStatus(s string) (StatusRange, error) {
	bad := errors.New("no HTTP status; write one like 200, 2xx or 200-204")
	code := func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || len(s) != 3 || n < 100 || n > 599 {
			return 0, bad
		}
		return n, nil
	}
	if len(s) == 3 && strings.EqualFold(s[1:], "xx") {
		n, err := code(s[:1] + "00")
		return StatusRange{n, n + 99}, err
	}
	from, to, ranged := strings.Cut(s, "-")
	low, err := code(strings.TrimSpace(from))
	if err != nil {
		return StatusRange{}, err
	}
	high := low
	if ranged {
		if high, err = code(strings.TrimSpace(to)); err != nil {
			return StatusRange{}, err
		}
		if high < low {
			return StatusRange{}, errors.New("ends before it begins")
		}
	}
	return StatusRange{low, high}, nil
}
