package daemon

import (
	"errors"
	"fmt"

	"ingestd/config"
	"ingestd/ingest/pipeline"
	"ingestd/ingest/shape"
	"ingestd/sinks"
)

// compile makes a plan of a pipeline's settings, as a snapshot keeps them. The
// caller adds the snapshot.
func compile(p *config.Pipeline, settings []config.SinkSettings, m *meter) (*pipeline.Plan, error) {
	sh, err := shape.Compile(shapeOptions(&p.Record))
	if err != nil {
		return nil, err
	}
	spec, err := formatSpec(p)
	if err != nil {
		return nil, err
	}
	plan := &pipeline.Plan{
		Open:       m.gauged(spec.open),
		OpenBundle: m.gauged(spec.openBundle),
		Fragment:   spec.fragment,
		Shape:      sh,
		Scope:      p.Dedupe.Scope,
		Dedupe:     p.Dedupe.Records == "skip" && sh.Keyed(),
		SkipFiles:  p.Dedupe.Files == "skip",
		BadLimit:   p.Record.BadLimit / 100,
		RejectFile: p.Record.OnInvalid == "reject_file",
		Whole:      p.Trailer() != "",
	}
	for i := range settings {
		s := &settings[i]
		body, err := sinks.Body(sinks.BodySpec{Kind: s.Body, Template: s.Template, Pipeline: p.Name})
		if err != nil {
			return nil, fmt.Errorf("sink %s: %w", s.Name, err)
		}
		if s.PerRecord() {
			body.PerRecord = true
		}
		plan.Sinks = append(plan.Sinks, pipeline.SinkPlan{
			Name: s.Name, Body: body, Vars: s.URLFields,
			MaxRecords: s.Batch.MaxRecords, MaxBytes: int(s.Batch.MaxBytes),
			OrderBy: s.OrderBy, Lanes: s.Lanes,
		})
	}
	if len(plan.Sinks) == 0 {
		return nil, errors.New("there are no sinks")
	}
	return plan, nil
}

func shapeOptions(r *config.Record) shape.Options {
	o := shape.Options{Key: r.Key, Rest: r.Rest}
	for _, f := range r.Fields {
		o.Fields = append(o.Fields, shape.Field{Name: f.Name, From: f.From, Optional: f.Optional})
	}
	return o
}
