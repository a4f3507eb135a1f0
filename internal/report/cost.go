package report

import (
	"fmt"
	"math"
	"time"

	"ratchet/internal/research"
	"ratchet/study"
)

// Prices are what things cost, in US dollars. Zero: unspecified.
type Prices struct {
	CPUHour  study.Money `json:"cpu_hour"`
	GPUHour  study.Money `json:"gpu_hour"`
	GiBMonth study.Money `json:"gib_month"` // of storage
}

// Costs are what a run used, and what that costs.
type Costs struct {
	Run         string     `json:"run"`
	Total       CostLine   `json:"total"`
	Stages      []CostLine `json:"stages"`
	Experiments []CostLine `json:"experiments"`
	Trials      []CostLine `json:"trials"`
	// Failed is the part of the total that attempts used which failed.
	Failed  CostLine `json:"failed"`
	Storage int64    `json:"storage_bytes"`
	// Monthly is what keeping that costs for a month.
	Monthly float64 `json:"storage_usd_per_month"`
	Prices  Prices  `json:"prices"`
	// Advice is what measured use says of what was asked for.
	Advice []string `json:"advice"`
}

// CostLine is what a part of a run used.
type CostLine struct {
	Name     string  `json:"name"`
	Attempts int     `json:"attempts"`
	Wall     float64 `json:"wall_s"`       // of attempts, seconds
	CPU      float64 `json:"cpu_s"`        // seconds
	GPU      float64 `json:"gpu_s"`        // seconds of whole devices
	Memory   int64   `json:"memory_bytes"` // at most
	Disk     int64   `json:"disk_bytes"`   // at most
	Tokens   int64   `json:"tokens"`
	USD      float64 `json:"usd"`
}

func (l *CostLine) add(a research.Attempt, gpus float64, p Prices) {
	l.Attempts++
	gpu := gpus * a.Usage.Wall
	l.Wall += a.Usage.Wall
	l.CPU += a.Usage.CPU
	l.GPU += gpu
	l.Memory, l.Disk = max(l.Memory, a.Usage.Memory), max(l.Disk, a.Usage.Disk)
	l.USD += a.Usage.CPU/3600*dollars(p.CPUHour) + gpu/3600*dollars(p.GPUHour)
	if m := a.Models; m != nil {
		l.Tokens += m.Tokens
		l.USD += m.USD
	}
}

func dollars(m study.Money) float64 { return float64(m) / 1e6 }

// CostOf adds up what the attempts of a run used. storage is what its objects
// take, in bytes.
func CostOf(s *research.State, storage int64, p Prices) Costs {
	limits := s.Created.Study.Limits.Attempt
	c := Costs{
		Run: s.Created.Run, Total: CostLine{Name: "run"}, Failed: CostLine{Name: "failed attempts"}, Storage: storage,
		Stages:      []CostLine{{Name: research.Experimentation}, {Name: research.Validation}},
		Experiments: []CostLine{}, Trials: []CostLine{}, Prices: p, Advice: []string{},
	}
	c.Monthly = float64(storage) / (1 << 30) * dollars(p.GiBMonth)
	asked := 0.0 // USD of model calls
	for _, x := range s.Experiments {
		line := CostLine{Name: x.Experiment}
		for _, t := range x.Trials {
			trial := CostLine{Name: t.ID}
			for _, a := range t.Attempts {
				gpus := limits.GPUs
				lines := []*CostLine{&c.Total, &c.Stages[1], &line, &trial}
				if t.Purpose == research.ForSearch {
					lines[1] = &c.Stages[0]
				}
				if a.Class != research.Succeeded {
					lines = append(lines, &c.Failed)
				}
				for _, l := range lines {
					l.add(a, gpus, p)
				}
				if a.Models != nil {
					asked += a.Models.USD
				}
			}
			if len(t.Attempts) > 0 {
				c.Trials = append(c.Trials, trial)
			}
		}
		c.Experiments = append(c.Experiments, line)
	}
	// Of calls that were lost in a crash, and that were not made again, only the run knows.
	c.Total.Tokens, c.Total.USD = s.Tally.Models.Tokens, c.Total.USD+s.Tally.Models.USD-asked
	c.advise(s)
	return c
}

// advise compares what was asked for with what was used. A limit is advised
// half above the most that was ever used.
func (c *Costs) advise(s *research.State) {
	const enough = 5 // attempts that succeeded
	l, longest, busiest, good := s.Created.Study.Limits.Attempt, 0.0, 0.0, 0
	for _, x := range s.Experiments {
		for _, t := range x.Trials {
			for _, a := range t.Attempts {
				if a.Class != research.Succeeded {
					continue
				}
				good++
				longest = max(longest, a.Usage.Wall)
				if a.Usage.Wall > 1 {
					busiest = max(busiest, a.Usage.CPU/a.Usage.Wall)
				}
			}
		}
	}
	if good < enough {
		return
	}
	say := func(format string, args ...any) { c.Advice = append(c.Advice, fmt.Sprintf(format, args...)) }
	if used := c.Total.Memory; used > 0 && int64(l.Memory) > 4*used {
		say("limits.attempt.memory asks for %s, and %s were used at most; %s would do", l.Memory, study.Bytes(used), roundUp(used+used/2))
	}
	if used := c.Total.Disk; int64(l.Disk) > 20*max(used, 1<<20) {
		say("limits.attempt.disk asks for %s, and %s were used at most", l.Disk, study.Bytes(used))
	}
	if busiest > 0 && l.CPUs > 1 && busiest < l.CPUs/2 {
		say("limits.attempt.cpus asks for %.3g processors, and %.2g were busy at most; %.0f would do", l.CPUs, busiest, math.Ceil(busiest))
	}
	if time := time.Duration(l.Time).Seconds(); time > 10*max(longest, 6) {
		say("limits.attempt.time is %s, and the longest attempt that succeeded took %s; one that hangs would be noticed sooner with less", l.Time, Span(longest))
	}
	if c.Total.Wall > 0 && c.Failed.Wall/c.Total.Wall > 0.2 {
		say("%.0f %% of the time went into attempts that failed; `ratchet show %s` says why", 100*c.Failed.Wall/c.Total.Wall, c.Run)
	}
	if l.GPUs > 0 && l.GPUMemory == 0 {
		say("limits.attempt.gpu_memory is not set; with it, or gpus: 0.5, two attempts can share a device")
	}
}

// roundUp is an amount that a person would write.
func roundUp(n int64) study.Bytes {
	unit := int64(64 << 20)
	if n > 4<<30 {
		unit = 1 << 30
	}
	return study.Bytes((n + unit - 1) / unit * unit)
}
