package history

import (
	"context"
	"time"

	"ratchet/internal/journal"
	"ratchet/internal/research"
)

// AlertRecord is an alert that was raised, and when it was over.
type AlertRecord struct {
	research.Alert
	Resolved *time.Time `json:"resolved"` // nil: it stands
}

// Alerts are all alerts of a run that count, in their order.
func (h *History) Alerts(ctx context.Context, run string) ([]AlertRecord, error) {
	superseded, err := h.Superseded(ctx, run, 0)
	if err != nil {
		return nil, err
	}
	out := []AlertRecord{}
	for r, err := range h.home.Journal.Read(ctx, journal.Of(run), 1) {
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
