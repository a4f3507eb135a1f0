package monitor

import (
	"fmt"
	"slices"
	"time"

	"ratchet/study"
)

// The states of health.
const (
	Initialising = "initialising"
	Healthy      = "healthy"
	Degraded     = "degraded"
	Critical     = "critical"
	Recovering   = "recovering"
	ShuttingDown = "shutting down"
)

// Health is how well a run goes, from 0 to 100, and why it is not 100.
type Health struct {
	Time    time.Time `json:"time"`
	State   string    `json:"state"`
	Score   int       `json:"score"`
	Reasons []Reason  `json:"reasons"` // for every lost point
	Since   time.Time `json:"since"`   // in this state
}

// Reason is a component that has lost points.
type Reason struct {
	Component string `json:"component"`
	Lost      int    `json:"lost"`
	Of        int    `json:"of"`
	Why       string `json:"why"`
}

// The components and how many points each can lose. A run of which nothing
// succeeds is critical by that alone.
const (
	ofResources    = 25
	ofSuccess      = 60
	ofTrend        = 10
	ofLatency      = 10
	ofStalled      = 10
	ofDependencies = 10
	ofAge          = 10
	ofEngine       = 5
)

// Facts are what health is judged by.
type Facts struct {
	Now      time.Time
	Limits   Limits
	Sample   Sample
	Outcomes []bool // of the attempts that ended last, the oldest first: whether each succeeded
	// SlowestAppend is of the last minute; StallAfter is when an attempt that
	// shows no sign of life counts as stalled.
	SlowestAppend time.Duration
	StallAfter    time.Duration
	Dependencies  []Dependency
	// Backups: every when one is due, and when the last was; zero every: none
	// are wanted.
	BackupEvery time.Duration
	LastBackup  time.Time
	LastEvent   time.Time
	InFlight    int
	Waits       bool   // for proposals, as it should
	Leak        string // what the engine seems to lose; empty: nothing
	Blocked     string // what a person has to mend; empty: nothing
}

// Limits are what may be used of the machine, as shares from 0 to 1; 0: no
// limit.
type Limits struct {
	CPU       float64 `json:"cpu"`
	Memory    float64 `json:"memory"`
	Disk      float64 `json:"disk"`
	GPUMemory float64 `json:"gpu_memory"`
}

// Dependency is something outside that does not answer.
type Dependency struct {
	Name string
	Open bool // it is not asked any more
	Why  string
}

// Assess judges facts. The state is Healthy, Degraded or Critical; what else
// there is, Track knows.
func Assess(f Facts) Health {
	h := Health{Time: f.Now.UTC(), Reasons: []Reason{}}
	lose := func(component string, of int, share float64, format string, args ...any) {
		if n := int(min(1, share)*float64(of) + 0.5); n > 0 {
			h.Reasons = append(h.Reasons, Reason{component, n, of, fmt.Sprintf(format, args...)})
		}
	}
	critical := f.Blocked
	f.resources(lose, &critical)
	if n := len(f.Outcomes); n >= 5 {
		good := share(f.Outcomes)
		lose("success rate", ofSuccess, (0.8-good)/0.8, "%.0f %% of the last %d attempts succeeded", 100*good, n)
		if half := n / 2; half >= 5 {
			before, after := share(f.Outcomes[:half]), share(f.Outcomes[half:])
			lose("error trend", ofTrend, (before-after-0.1)*2, "%.0f %% of the last %d attempts failed, of those before %.0f %%", 100*(1-after), n-half, 100*(1-before))
		}
	}
	lose("latency", ofLatency, (f.SlowestAppend.Seconds()-0.5)/4.5, "the journal took %s to write", f.SlowestAppend.Round(time.Millisecond))
	var stalled []string
	for _, a := range f.Sample.Attempts {
		if f.StallAfter > 0 && a.Quiet(f.Now) > f.StallAfter {
			stalled = append(stalled, a.ID)
		}
	}
	if len(stalled) > 0 {
		lose("stalled attempts", ofStalled, float64(len(stalled))/float64(max(1, len(f.Sample.Attempts))), "%d of %d attempts show no sign of life, %s first", len(stalled), len(f.Sample.Attempts), stalled[0])
	}
	for _, d := range f.Dependencies {
		lost := 0.5
		if d.Open {
			lost = 1
		}
		lose("dependencies", ofDependencies, lost, "%s: %s", d.Name, d.Why)
	}
	f.ages(lose)
	if f.Leak != "" {
		lose("the engine", ofEngine, 1, "%s", f.Leak)
	}
	if f.Blocked != "" {
		lose("the run", 50, 1, "%s", f.Blocked)
	}
	h.Score = 100
	for _, r := range h.Reasons {
		h.Score -= r.Lost
	}
	h.Score = max(0, h.Score)
	slices.SortStableFunc(h.Reasons, func(a, b Reason) int { return b.Lost - a.Lost })
	switch {
	case critical != "" || h.Score < 50:
		h.State = Critical
	case h.Score < 85 || len(f.Dependencies) > 0:
		h.State = Degraded
	default:
		h.State = Healthy
	}
	return h
}

func (f Facts) resources(lose func(string, int, float64, string, ...any), critical *string) {
	s := f.Sample
	if s.Memory != nil && f.Limits.Memory > 0 {
		over := s.Memory.Share() - f.Limits.Memory
		if over > 0 {
			lose("resources", ofResources, over/(1-f.Limits.Memory+1e-9), "%.0f %% of the memory is used, the limit is %.0f %%", 100*s.Memory.Share(), 100*f.Limits.Memory)
		}
	}
	for _, d := range s.Disks {
		if f.Limits.Disk > 0 && d.Share() > f.Limits.Disk {
			lose("resources", ofResources, (d.Share()-f.Limits.Disk)/(1-f.Limits.Disk+1e-9)+0.2, "the disk of the %s is %.0f %% full, %s are free", d.What, 100*d.Share(), study.Bytes(d.Free))
			if d.Free < 64<<20 {
				*critical = "a disk is full"
			}
		}
	}
	if p := s.Pressure; p != nil {
		lose("resources", ofResources, p.MemoryFull*2, "for %.0f %% of the time everything waited for memory", 100*p.MemoryFull)
		lose("resources", ofResources, p.IOFull-0.4, "for %.0f %% of the time everything waited for disks", 100*p.IOFull)
	}
	for _, g := range s.GPUs {
		if g.Temperature != nil {
			lose("resources", ofResources, (*g.Temperature-88)/10, "GPU %d is at %.0f °C", g.Index, *g.Temperature)
		}
		if g.ECCErrors != nil && *g.ECCErrors > 0 {
			lose("resources", ofResources, 1, "GPU %d had %d uncorrected memory errors", g.Index, *g.ECCErrors)
		}
	}
}

func (f Facts) ages(lose func(string, int, float64, string, ...any)) {
	if f.InFlight == 0 && !f.Waits && !f.LastEvent.IsZero() {
		idle := f.Now.Sub(f.LastEvent)
		lose("age", ofAge, (idle.Minutes()-5)/25, "nothing was journaled for %s, and nothing runs", idle.Round(time.Second))
	}
	if f.BackupEvery > 0 {
		age := f.Now.Sub(f.LastBackup)
		switch {
		case f.LastBackup.IsZero():
		case age > 2*f.BackupEvery:
			lose("age", ofAge, float64(age-f.BackupEvery)/float64(4*f.BackupEvery), "the last backup is %s old, one is due every %s", age.Round(time.Minute), f.BackupEvery)
		}
	}
}

func share(outcomes []bool) float64 {
	n := 0
	for _, good := range outcomes {
		if good {
			n++
		}
	}
	return float64(n) / float64(max(1, len(outcomes)))
}

// steady is how long all must have been well until a run that was not counts
// as healthy again.
const steady = time.Minute

// Track puts what was before behind a new judgement: a run that has begun is
// Initialising, one that was unwell is Recovering until it has been well for a
// minute.
func Track(before, now Health) Health {
	if now.State == Healthy && (before.State == Degraded || before.State == Critical) || before.State == Recovering && now.State == Healthy && now.Time.Sub(before.Since) < steady {
		now.State = Recovering
	}
	if now.Since = before.Since; now.State != before.State || before.Since.IsZero() {
		now.Since = now.Time
	}
	return now
}
