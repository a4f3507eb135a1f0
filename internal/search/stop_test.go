package search_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"ratchet/internal/research"
	"ratchet/internal/search"
	"ratchet/study"
)

// curves is a lab whose trials report their loss at steps 1, 3, 9 and 27: the final one and,
// the earlier the more, an error. They are stopped as the engine stops them.
type curves struct {
	*lab
	r       *rand.Rand
	noise   float64
	stopped []float64 // final values of those that were
	best    []float64 // the best so far when each of them was
}

func newCurves(t *testing.T, s study.Search, noise float64, seed uint64) *curves {
	st := mixed(s.Method, s.Experiments, 1)
	st.Search = s
	st.Search.Seeds, st.Search.Eta, st.Search.MinStep = 1, 3, 1
	c := &curves{lab: newLab(t, st), r: rand.New(rand.NewPCG(seed, 1)), noise: noise}
	c.s.Created.Seed = int64(seed)
	return c
}

func (c *curves) run() {
	c.t.Helper()
	best := math.Inf(1)
	for i := range c.s.Created.Study.Search.Experiments {
		a := research.Action{ID: fmt.Sprint("propose-", i+1), Kind: research.Propose, Index: i}
		c.append(research.ActionDecided{Action: a})
		p, ok := search.Propose(c.s, i)
		if !ok {
			c.t.Fatal("nothing to propose")
		}
		c.append(research.ExperimentProposed{Action: a.ID, Experiment: fmt.Sprint("e", i+1), Parameters: p.Parameters, Rungs: p.Rungs, By: &p.By})
		t := c.s.Open[0]
		final := bowl(p.Parameters)
		try := research.Action{ID: t.ID + "-a1", Kind: research.Try, Trial: t.ID, Experiment: t.Experiment, Attempt: 1}
		at := research.Attempt{ID: try.ID, Trial: t.ID, Number: 1, Class: research.Succeeded, Metrics: map[string]float64{"loss": final}}
		for _, step := range []int{1, 3, 9, 27} {
			v := final
			if step < 27 {
				v += 3/float64(step) + c.noise/math.Sqrt(float64(step))*c.r.NormFloat64()
			}
			at.Rungs = append(at.Rungs, research.Point{Step: step, Value: v})
			at.Usage.Wall = float64(step)
			if k := slices.IndexFunc(p.Rungs, func(r research.Rung) bool { return r.Step == step }); k >= 0 && step < 27 && p.Rungs[k].Bar < v {
				at.Halted, at.Metrics["loss"] = step, v
				break
			}
		}
		if at.Halted > 0 {
			c.stopped, c.best = append(c.stopped, final), append(c.best, best)
		} else {
			best = min(best, final)
		}
		c.append(research.ActionDecided{Action: try}, research.AttemptEnded{Action: try.ID, Attempt: at}, research.TrialCompleted{Trial: t.ID, Outcome: research.Succeeded})
	}
}

// TestStopping: every rule stops trials; the one that extrapolates is wrong no more often
// than it says.
func TestStopping(t *testing.T) {
	for _, s := range []study.Search{{Stop: study.StopMedian}, {Stop: study.StopCurve, Error: 0.05}, {Stop: study.StopHalving}, {Stop: study.StopHalving, Brackets: 3}} {
		stopped, wrong, n := 0, 0, 30
		for seed := range n {
			s.Method, s.Experiments = study.Random, 60
			c := newCurves(t, s, 0.5, uint64(seed))
			c.run()
			stopped += len(c.stopped)
			for i, final := range c.stopped {
				if final < c.best[i] {
					wrong++
				}
			}
		}
		// 3 standard errors above the stated chance.
		bound := 0.05*float64(stopped) + 3*math.Sqrt(0.05*0.95*float64(stopped))
		t.Logf("%s, %d brackets: %d of %d stopped, %d of them wrongly", s.Stop, s.Brackets, stopped, n*60, wrong)
		if stopped < n*10 || s.Stop == study.StopCurve && float64(wrong) > bound {
			t.Errorf("%s stops %d of %d trials, %d of them wrongly", s.Stop, stopped, n*60, wrong)
		}
	}
}

// TestFlatCurvesStopNothing: where early values say nothing of late ones, no trial is
// stopped by them.
func TestFlatCurvesStopNothing(t *testing.T) {
	c := newCurves(t, study.Search{Method: study.Random, Experiments: 60, Stop: study.StopCurve, Error: 0.01}, 1000, 1)
	c.run()
	if len(c.stopped) > 3 {
		t.Errorf("%d of 60 trials are stopped by noise", len(c.stopped))
	}
}

// TestStart: what the study names is tried first, as far as it says.
func TestStart(t *testing.T) {
	st := mixed(study.GP, 6, 2)
	st.Search.Start = []study.Params{{"kind": "b", "rate": 0.01, "width": 16.0, "shift": 0.5}, {"kind": "c"}, {"kind": "b", "rate": 0.01, "width": 16.0, "shift": 0.5}}
	got := newLab(t, st).run(first)
	if got[0].Parameters.Key() != st.Search.Start[0].Key() || got[0].By.Method != search.Start || got[1].Parameters["kind"] != "c" || len(got[1].Parameters) != 4 {
		t.Errorf("it begins with %v and %v", got[0].Parameters, got[1].Parameters)
	}
	if got[2].By.Method == search.Start {
		t.Error("a configuration is tried twice")
	}
}

// TestEnough: a search ends when none of its last proposals was expected to gain as much as
// the study asks for, and not before.
func TestEnough(t *testing.T) {
	st := mixed(study.GP, 60, 1)
	st.Parameters = st.Parameters[4:]
	st.Search.Enough = 1e-4
	l := newLab(t, st)
	l.value = func(p study.Params, _ int64) (float64, research.Class) {
		d := p["shift"].(float64) - 0.3
		return d * d, research.Succeeded
	}
	ends := 0
	l.run(first)
	for i := range l.s.Experiments {
		if search.Enough(l.s, i+1) != "" {
			ends = i + 1
			break
		}
	}
	if ends < 12 || ends > 45 {
		t.Errorf("it ends after %d experiments", ends)
	}
	if best := *l.s.Best().Value; best > 1e-4 {
		t.Errorf("the best is %v", best)
	}
}
