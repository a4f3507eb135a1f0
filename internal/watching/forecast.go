package watching

import (
	"fmt"
	"math"
	"slices"
	"time"

	"ratchet/internal/forecast"
	"ratchet/internal/monitor"
	"ratchet/internal/research"
	"ratchet/internal/stats"
	"ratchet/study"
)

// Forecast is when something is expected to happen, with the interval that
// holds it in nine of ten cases, if all goes on as it does.
type Forecast struct {
	What    string  `json:"what"` // disk full, out of memory, end of the run, time spent
	Subject string  `json:"subject,omitempty"`
	After   float64 `json:"after_s"`   // seconds from the sample on
	Soonest float64 `json:"soonest_s"` // seconds
	Latest  float64 `json:"latest_s"`  // seconds; −1: never
	Text    string  `json:"text"`
	rule    string  // of the alert that it is worth; "": none
}

const level = 0.9

// trace is what samples of the last minutes say about where things go.
type trace struct {
	began   time.Time
	time    []float64 // seconds since began
	disks   map[string][]float64
	tries   map[string][]point
	minutes []monitor.Self // one a minute, since the engine began
	minute  time.Time
}

type point struct{ at, value float64 }

// mostTrace is how far back a trace goes, in samples.
const mostTrace = 600

func (t *trace) add(s monitor.Sample) {
	if t.began.IsZero() {
		t.began, t.disks, t.tries = s.Time, map[string][]float64{}, map[string][]point{}
	}
	at := s.Time.Sub(t.began).Seconds()
	keep := func(v []float64, x float64) []float64 { return append(v[max(0, len(v)-mostTrace+1):], x) }
	t.time = keep(t.time, at)
	for _, d := range s.Disks {
		t.disks[d.What] = keep(t.disks[d.What], float64(d.Free))
	}
	now := map[string][]point{}
	for _, a := range s.Attempts {
		v := t.tries[a.ID]
		now[a.ID] = append(v[max(0, len(v)-mostTrace+1):], point{at, float64(a.Memory)})
	}
	t.tries = now
	if s.Time.Sub(t.minute) >= time.Minute {
		t.minute = s.Time
		t.minutes = append(t.minutes, s.Engine)
	}
}

// forecasts are when disks are full and attempts out of memory.
func (t *trace) forecasts(s monitor.Sample) []Forecast {
	out := []Forecast{}
	for _, d := range s.Disks {
		free := t.disks[d.What]
		if len(free) != len(t.time) || len(free) < 30 {
			continue
		}
		trend, ok := forecast.TheilSen(t.time, free, level)
		if !ok || trend.High >= 0 { // it may as well not fall at all
			continue
		}
		if f, ok := reaches(trend, float64(d.Free), 0, "disk full", d.What); ok && f.After < 7*24*3600 {
			f.Text = fmt.Sprintf("the disk of the %s is full in about %s", d.What, f.span())
			if f.After < 3600 {
				f.rule = "disk forecast"
			}
			out = append(out, f)
		}
	}
	for _, a := range s.Attempts {
		points := t.tries[a.ID]
		if len(points) < 10 || a.MemoryLimit == 0 {
			continue
		}
		var x, y []float64
		for _, p := range points {
			x, y = append(x, p.at), append(y, p.value)
		}
		trend, ok := forecast.TheilSen(x, y, level)
		if !ok || trend.Low <= 0 {
			continue
		}
		if f, ok := reaches(trend, float64(a.Memory), float64(a.MemoryLimit), "out of memory", a.ID); ok && f.After < 24*3600 {
			f.Text = fmt.Sprintf("attempt %s reaches its memory limit, %s, in about %s", a.ID, study.Bytes(a.MemoryLimit), f.span())
			if f.After < 600 {
				f.rule = "memory forecast"
			}
			out = append(out, f)
		}
	}
	return out
}

func reaches(t forecast.Trend, now, limit float64, what, of string) (Forecast, bool) {
	after, soonest, latest, ok := t.Reaches(now, limit)
	if math.IsInf(latest, 1) {
		latest = -1
	}
	return Forecast{What: what, Subject: of, After: after, Soonest: soonest, Latest: latest}, ok
}

func (f Forecast) span() string {
	say := func(s float64) string { return study.Duration(roughly(s)).String() }
	if f.Latest < 0 {
		return fmt.Sprintf("%s (%s at the soonest)", say(f.After), say(f.Soonest))
	}
	return fmt.Sprintf("%s (%s to %s)", say(f.After), say(f.Soonest), say(f.Latest))
}

// roughly is a time with two digits that mean something.
func roughly(seconds float64) time.Duration {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Minute:
		return d.Round(time.Second)
	case d < time.Hour:
		return d.Round(time.Minute)
	}
	return d.Round(10 * time.Minute)
}

// leak says what the engine seems to lose: what has grown for at least ten
// minutes, by more than half and by more than chance.
func (t *trace) leak() string {
	n := len(t.minutes)
	if n < 12 {
		return ""
	}
	look := func(what string, least float64, of func(monitor.Self) float64) string {
		var x, y []float64
		for i, s := range t.minutes[2:] { // what it needs anyway is there by then
			x, y = append(x, float64(i)), append(y, of(s))
		}
		trend, ok := forecast.TheilSen(x, y, 0.99)
		first, last := y[0], y[len(y)-1]
		if !ok || trend.Low <= 0 || last < 1.5*first || last-first < least {
			return ""
		}
		return fmt.Sprintf("the engine's %s grew from %.0f to %.0f in %d minutes", what, first, last, len(y))
	}
	for _, why := range []string{
		look("goroutines", 200, func(s monitor.Self) float64 { return float64(s.Goroutines) }),
		look("open files", 100, func(s monitor.Self) float64 { return float64(value(s.Descriptors)) }),
		look("memory in MiB", 200, func(s monitor.Self) float64 { return float64(value(s.Memory)) / (1 << 20) }),
	} {
		if why != "" {
			return why
		}
	}
	return ""
}

func value[T int | int64](p *T) T {
	if p == nil {
		return 0
	}
	return *p
}

// progress is how far a run is, and how fast.
type progress struct {
	done, planned int
	parallel      int
	took          []float64 // seconds of the trials that ended last
	driven        time.Duration
	limit         time.Duration // of the run's time; 0: none
}

// mostTook is of how many trials a pace is made.
const mostTook = 100

func progressOf(s *research.State) progress {
	p := progress{done: s.Tally.Trials, parallel: s.Created.Study.Parallel, driven: s.Driven + s.RolledBack, limit: s.TimeLimit()}
	if s.Plan == nil {
		return p
	}
	p.planned = s.PlannedTrials()
	for i := len(s.Experiments) - 1; i >= 0 && len(p.took) < mostTook; i-- {
		for _, t := range s.Experiments[i].Trials {
			if t.Outcome == "" {
				continue
			}
			took := 0.0
			for _, a := range t.Attempts {
				took += a.Usage.Wall
			}
			p.took = append(p.took, took)
		}
	}
	return p
}

// forecasts are when the run ends, and whether its time is spent before.
func (p progress) forecasts(time.Time) []Forecast {
	left := float64(p.planned - p.done)
	if len(p.took) < 5 || left <= 0 {
		return nil
	}
	slices.Sort(p.took)
	mean := stats.Mean(p.took)
	var square float64
	for _, t := range p.took {
		square += (t - mean) * (t - mean)
	}
	deviation := math.Sqrt(square / float64(len(p.took)-1))
	parallel := float64(max(1, p.parallel))
	// The mean is uncertain, and so is the sum of what is left.
	spread := 1.645 * deviation * math.Sqrt(left*left/float64(len(p.took))+left) / parallel
	f := Forecast{What: "end of the run", After: left * mean / parallel}
	f.Soonest, f.Latest = max(0, f.After-spread), f.After+spread
	f.Text = "the run ends in about " + f.span()
	out := []Forecast{f}
	if rest := (p.limit - p.driven).Seconds(); p.limit > 0 && rest < f.Latest {
		out = append(out, Forecast{What: "time spent", After: rest, Soonest: rest, Latest: rest,
			Text: fmt.Sprintf("limits.run.time, %s, is spent in %s, and the run may need longer", study.Duration(p.limit), study.Duration(roughly(rest)))})
	}
	return out
}
