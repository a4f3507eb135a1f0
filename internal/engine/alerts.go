package engine

import (
	"context"
	"slices"
	"time"

	"ratchet/internal/journal"
	"ratchet/internal/monitor"
	"ratchet/internal/research"
)

// AlertRecord is an alert that was raised, and when it was over.
type AlertRecord struct {
	research.Alert
	Resolved *time.Time `json:"resolved"` // nil: it stands
}

// Alerts are all alerts of a run that count, in their order.
func (e *Engine) Alerts(ctx context.Context, run string) ([]AlertRecord, error) {
	superseded, err := e.Superseded(ctx, run, 0)
	if err != nil {
		return nil, err
	}
	out := []AlertRecord{}
	for r, err := range e.Journal.Read(ctx, journal.Of(run), 1) {
		if err != nil {
			return nil, err
		}
		if superseded(r.Seq) || r.Type != "run.resumed" && r.Type != "run.completed" && r.Type != "alert.raised" && r.Type != "alert.resolved" {
			continue
		}
		p, err := research.Decode(r.Type, r.Version, r.Payload)
		if err != nil {
			return nil, err
		}
		for i := range out {
			if out[i].Resolved == nil && out[i].OverBy(p) {
				out[i].Resolved = &r.Time
			}
		}
		if d, raised := p.(research.AlertRaised); raised {
			out = append(out, AlertRecord{Alert: research.Alert{AlertRaised: d, Time: r.Time}})
		}
	}
	return out, nil
}

// AlertRules are the names of all rules.
func AlertRules() []string {
	out := []string{research.RulePaused, research.RuleSecurity, research.RuleFailed}
	for _, r := range monitor.Rules(monitor.Limits{CPU: 1, Memory: 1, Disk: 1, GPUMemory: 1}) {
		out = append(out, r.Name)
	}
	slices.Sort(out)
	return out
}

// KnownRule reports whether there is a rule of a name; "*" is all of them.
func KnownRule(name string) bool { return name == "*" || slices.Contains(AlertRules(), name) }
