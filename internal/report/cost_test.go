package report_test

import (
	"math"
	"strings"
	"testing"

	"ratchet/internal/report"
	"ratchet/internal/research"
	"ratchet/study"
)

// TestCosts: what attempts used is added up by every part of the run, once in
// each, and advice follows from it.
func TestCosts(t *testing.T) {
	s := research.New()
	s.Created.Study = &study.Study{Limits: study.Limits{Attempt: study.AttemptLimits{Memory: 8 << 30, CPUs: 4, GPUs: 0.5, GPUMemory: 1, Time: study.Duration(3600e9), Disk: 1 << 30}}}
	for i, purpose := range []string{research.ForSearch, research.ForValidation} {
		x := &research.Experiment{ExperimentProposed: research.ExperimentProposed{Experiment: []string{"e0001", "e0002"}[i]}}
		for range 3 {
			x.Trials = append(x.Trials, &research.Trial{ID: "t", Purpose: purpose, Attempts: []research.Attempt{
				{Class: research.Resource, Usage: research.Usage{Wall: 36, CPU: 18, Memory: 1 << 20}},
				{Class: research.Succeeded, Usage: research.Usage{Wall: 72, CPU: 36, Memory: 1 << 30}},
			}})
		}
		s.Experiments = append(s.Experiments, x)
	}
	c := report.CostOf(s, 1<<30, report.Prices{CPUHour: 1_000_000, GPUHour: 2_000_000, GiBMonth: 500_000})
	// 6 × 108 s, half of it processor time, half a device.
	if c.Total.Wall != 648 || c.Total.CPU != 324 || c.Total.GPU != 324 || c.Failed.Wall != 216 || c.Total.Attempts != 12 || c.Monthly != 0.5 {
		t.Errorf("%+v", c)
	}
	if want := 324.0/3600 + 2*324.0/3600; math.Abs(c.Total.USD-want) > 1e-9 {
		t.Errorf("it costs %v, want %v", c.Total.USD, want)
	}
	for _, parts := range [][]report.CostLine{c.Stages, c.Experiments, c.Trials} {
		sum := report.CostLine{}
		for _, l := range parts {
			sum.Wall, sum.USD, sum.Attempts = sum.Wall+l.Wall, sum.USD+l.USD, sum.Attempts+l.Attempts
		}
		if math.Abs(sum.Wall-c.Total.Wall) > 1e-9 || math.Abs(sum.USD-c.Total.USD) > 1e-9 || sum.Attempts != c.Total.Attempts {
			t.Errorf("the parts %+v are not the whole %+v", parts, c.Total)
		}
	}
	advice := strings.Join(c.Advice, "\n")
	for _, want := range []string{"asks for 8GiB, and 1GiB were used at most; 1.5GiB would do", "4 processors, and 0.5 were busy", "the longest attempt that succeeded took 1 min 12 s", "33 % of the time went into attempts that failed"} {
		if !strings.Contains(advice, want) {
			t.Errorf("no %q in\n%s", want, advice)
		}
	}
}
