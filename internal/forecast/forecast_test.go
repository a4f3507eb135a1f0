package forecast_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"ratchet/internal/forecast"
	"ratchet/internal/research"
	"ratchet/study"
)

func TestTheilSen(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	inside := 0
	const runs = 400
	for range runs {
		var x, y []float64
		for i := range 60 {
			x = append(x, float64(i))
			y = append(y, 5-0.5*float64(i)+random.NormFloat64()*3)
		}
		for range 9 { // some are anything
			y[random.IntN(60)] = 1000 * random.Float64()
		}
		trend, ok := forecast.TheilSen(x, y, 0.9)
		if !ok || math.Abs(trend.Slope+0.5) > 0.3 {
			t.Fatalf("%+v", trend)
		}
		if trend.Low <= -0.5 && -0.5 <= trend.High {
			inside++
		}
	}
	if inside < runs*80/100 {
		t.Errorf("the interval at 0.9 has the slope in %d of %d", inside, runs)
	}
	trend := forecast.Trend{Slope: -2, Low: -4, High: -1}
	if after, soonest, latest, ok := trend.Reaches(10, 0); !ok || after != 5 || soonest != 2.5 || latest != 10 {
		t.Errorf("%v %v %v %v", after, soonest, latest, ok)
	}
	if _, _, _, ok := trend.Reaches(10, 20); ok {
		t.Error("what falls reaches what is above")
	}
	if _, ok := forecast.TheilSen([]float64{1, 1, 1, 1, 1}, []float64{1, 2, 3, 4, 5}, 0.9); ok {
		t.Error("there is a trend without time")
	}
}

// outcomes is a run whose trials fail with a chance that their parameters say.
func outcomes(t *testing.T, n int, chance func(size float64, kind string) float64) *research.State {
	t.Helper()
	random := rand.New(rand.NewPCG(3, 4))
	s := research.New()
	s.Created.Study = &study.Study{Parameters: []study.Parameter{
		{Name: "size", Kind: study.Float, Low: 1, High: 1000, Log: true}, {Name: "kind", Kind: study.Categorical, Values: []any{"a", "b"}},
	}}
	for i := range n {
		size, kind := math.Exp(random.Float64()*math.Log(1000)), []string{"a", "b"}[random.IntN(2)]
		x := &research.Experiment{ExperimentProposed: research.ExperimentProposed{Experiment: fmt.Sprint(i), Parameters: study.Params{"size": size, "kind": kind}}}
		outcome := research.Succeeded
		if random.Float64() < chance(size, kind) {
			outcome = research.Resource
		}
		x.Trials = []*research.Trial{{Outcome: outcome}}
		s.Experiments = append(s.Experiments, x)
	}
	return s
}

func TestRisk(t *testing.T) {
	r := forecast.Fit(outcomes(t, 200, func(size float64, kind string) float64 {
		if size > 200 && kind == "b" {
			return 0.95
		}
		return 0.02
	}))
	if !r.Tells() {
		t.Fatalf("it tells nothing: %+v", r)
	}
	large, small := r.Chance(study.Params{"size": 900.0, "kind": "b"}), r.Chance(study.Params{"size": 2.0, "kind": "a"})
	if large < 0.5 || small > 0.1 {
		t.Errorf("the chances are %.2f and %.2f", large, small)
	}
	if r := forecast.Fit(outcomes(t, 200, func(float64, string) float64 { return 0.3 })); r.Tells() {
		t.Errorf("chance alone is foretold: %+v", r)
	}
	if r := forecast.Fit(outcomes(t, 50, func(float64, string) float64 { return 0 })); r != nil || r.Tells() {
		t.Errorf("from no failure: %+v", r)
	}
	began := time.Now()
	forecast.Fit(outcomes(t, 5000, func(size float64, _ string) float64 { return size / 2000 }))
	t.Logf("5,000 trials take %s", time.Since(began))
}
