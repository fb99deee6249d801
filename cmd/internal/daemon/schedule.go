package daemon

import (
	"ingestd/config"
	"ingestd/ingest/schedule"
)

// newSchedule makes the schedule that s describes.
func newSchedule(s *config.Schedule) (*schedule.Schedule, error) {
	return schedule.New(schedule.Options{
		Days: s.Every.Days, Span: s.Every.Span, Minute: s.At.Clock.Minute, Weekday: s.At.Weekday,
		From: s.From, Cron: s.Cron, Zone: s.Zone.Location(),
	})
}
