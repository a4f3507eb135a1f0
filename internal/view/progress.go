package view

import (
	"ratchet/internal/engine"
	"ratchet/internal/research"
	"ratchet/internal/stats"
)

// Progress is a step of a run that is driven.
type Progress struct {
	Status Status
	// Events are what the step has journaled.
	Events []research.Payload
	// Messages say why the trials failed that are completed in Events, by trial.
	Messages map[string]string
	// Outlook says what the validation can be expected to show, when it has just
	// been designed; "" otherwise.
	Outlook string
}

// ProgressOf is a step as a document.
func ProgressOf(e *engine.Engine, s *research.State, events []research.Payload) Progress {
	p := Progress{Status: folded(s), Events: events}
	p.Status.Output = e.Output(s)
	for _, event := range events {
		switch event := event.(type) {
		case research.ValidationDesigned:
			if o := stats.OutlookOf(s); o != nil {
				p.Outlook = o.Text()
			}
		case research.TrialCompleted:
			if event.Outcome == research.Succeeded {
				continue
			}
			if t := s.Trial(event.Trial); t != nil && t.Last() != nil {
				if p.Messages == nil {
					p.Messages = map[string]string{}
				}
				p.Messages[event.Trial] = t.Last().Message
			}
		}
	}
	return p
}
