package view

import (
	"ratchet/internal/home"
	"ratchet/internal/research"
	"ratchet/internal/watching"
)

// Health is how well a run goes: `ratchet health --json`.
type Health struct {
	*watching.Watch                   // as the process that drove the run saw it last
	Driven          *home.DrivenError `json:"driven_by"`
	Alerts          []research.Alert  `json:"alerts"`
}
