package research

import "time"

// The severities of alerts.
const (
	Info    = "info"
	Warning = "warning"
	Grave   = "critical"
)

// Severities are all severities, the least first.
var Severities = []string{Info, Warning, Grave}

// The rules of which the core itself raises alerts: what the run cannot go on
// without a person for, and what must not be missed.
const (
	RulePaused   = "paused"
	RuleSecurity = "security"
	RuleFailed   = "failed"
)

// AlertRaised tells people of a condition. It stands until it
// is resolved, and is raised once meanwhile.
type AlertRaised struct {
	v1
	Rule      string  `json:"rule"`
	Subject   string  `json:"subject,omitempty"` // which disk, device or attempt
	Severity  string  `json:"severity"`
	Text      string  `json:"text"`
	Value     float64 `json:"value"`
	Threshold float64 `json:"threshold"`
}

// Key names what an alert is about: there is at most one of a key at a time.
func (a AlertRaised) Key() string { return a.Rule + "/" + a.Subject }

// AlertResolved says that what an alert was about is over.
type AlertResolved struct {
	v1
	Rule    string `json:"rule"`
	Subject string `json:"subject,omitempty"`
}

// AlertsSilenced mutes the notifications of a rule for a
// while; they are raised and shown all the same.
type AlertsSilenced struct {
	v1
	Rule  string    `json:"rule"` // "*": all
	Until time.Time `json:"until"`
	By    string    `json:"by"`
}

func (AlertRaised) Type() string    { return "alert.raised" }
func (AlertResolved) Type() string  { return "alert.resolved" }
func (AlertsSilenced) Type() string { return "alert.silenced" }

// Alert is an AlertRaised with when it was.
type Alert struct {
	AlertRaised
	Time time.Time `json:"time"`
}

// alert folds what happened to alerts.
func (s *State) alert(t time.Time, p Payload) {
	switch d := p.(type) {
	case AlertRaised:
		s.Alerts = append(s.Alerts, Alert{d, t})
		s.Doubted = s.Doubted || d.Rule == RulePaused && d.Subject == subjectAlike
	case AlertResolved:
		s.settledBy(d)
	case AlertsSilenced:
		silent := map[string]time.Time{d.Rule: d.Until}
		for rule, until := range s.Silent {
			if rule != d.Rule {
				silent[rule] = until
			}
		}
		s.Silent = silent
	}
}

// OverBy reports whether an event ends an alert: its own resolution; a resumed
// run, for what it had paused for; and the run's end, after which nobody
// watches the machine for it any more.
func (a AlertRaised) OverBy(p Payload) bool {
	switch d := p.(type) {
	case AlertResolved:
		return a.Rule == d.Rule && a.Subject == d.Subject
	case RunResumed:
		return a.Rule == RulePaused
	case TrialsRetried:
		return a.Rule == RuleFailed
	case RunCompleted:
		return a.Rule != RuleSecurity && a.Rule != RuleFailed
	}
	return false
}

// settledBy takes the alerts away that an event ends.
func (s *State) settledBy(p Payload) {
	kept := s.Alerts[:0:0]
	for _, a := range s.Alerts {
		if !a.OverBy(p) {
			kept = append(kept, a)
		}
	}
	s.Alerts = kept
}

// Silenced reports whether a rule is muted.
func (s *State) Silenced(rule string, now time.Time) bool {
	return now.Before(s.Silent[rule]) || now.Before(s.Silent["*"])
}
