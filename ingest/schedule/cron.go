package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/netresearch/go-cron"
)

const (
	maxCron = 256
	// searchYears is how far ahead a cron expression is looked for: the 29th of
	// February on a given weekday can be 40 years away.
	searchYears = 40
)

// parseCron reads five fields (minute, hour, day of month, month, day of week)
// or @hourly, @daily, @weekly, @monthly, @yearly. Where both day fields are
// given, either will do, as crontab(5) has it.
func parseCron(text string, zone *time.Location) (func(time.Time) time.Time, error) {
	switch {
	case len(text) > maxCron:
		return nil, fmt.Errorf("is longer than %d bytes", maxCron)
	case strings.HasPrefix(text, "TZ=") || strings.HasPrefix(text, "CRON_TZ="):
		return nil, errors.New("names a zone; write it as `zone: Europe/Berlin`")
	case strings.HasPrefix(text, "@every"):
		return nil, errors.New("is an interval; write it as `every: 90m`")
	}
	parser, err := cron.TryNewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor | cron.DowOrDom)
	if err != nil {
		return nil, err
	}
	parsed, err := parser.WithMaxSearchYears(searchYears).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("is no cron expression of five fields (minute hour day month weekday): %w", err)
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, errors.New("is no cron expression of five fields (minute hour day month weekday)")
	}
	if spec.Next(epoch()).IsZero() {
		return nil, errors.New("never comes: no year has such a day")
	}
	const everyHour = 1<<24 - 1
	if spec.Hour&everyHour == everyHour {
		spec.Location = zone
		return func(after time.Time) time.Time { return spec.Next(after).In(zone) }, nil
	}
	// Times of day are looked for on a clock that skips and repeats nothing,
	// and then placed on the real one.
	spec.Location = time.UTC
	return func(after time.Time) time.Time {
		for at := asUTC(after.In(zone)); ; {
			at = spec.Next(at)
			if at.IsZero() {
				return at
			}
			if t := wall(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), zone); t.After(after) {
				return t
			}
		}
	}, nil
}
