package stats_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat/distuv"

	"ratchet/internal/proof"
	"ratchet/internal/research"
	"ratchet/internal/stats"
	"ratchet/study"
)

// studies is how many studies a rate is estimated from.
var studies = proof.Of(200, 2000)

const alpha, pairs = 0.05, 10

// judged simulates the validation of a study and returns its verdicts: for
// each hypothesis, draw gives the difference of a pair.
func judged(t *testing.T, seed int64, hypotheses int, by float64, draw func(r *rand.Rand, h int) float64) []string {
	t.Helper()
	st := &study.Study{
		Objective:  study.Objective{Metric: "m", Goal: study.Maximize},
		Validation: study.Validation{Seeds: pairs, Alpha: alpha, Correction: "holm"},
	}
	s := research.New()
	apply := func(p research.Payload) {
		if err := s.Apply(research.Event{Seq: s.Seq + 1, Time: time.Unix(0, 0), Data: p}); err != nil {
			t.Fatal(err)
		}
	}
	apply(research.RunCreated{Study: st, Seed: seed})
	apply(research.PlanMade{})
	design := research.ValidationDesigned{}
	for i := range pairs {
		design.Seeds = append(design.Seeds, int64(i))
	}
	r := rand.New(rand.NewPCG(uint64(seed), 7))
	for h := range hypotheses {
		id := fmt.Sprint("h", h)
		apply(research.HypothesisStated{Hypothesis: study.Hypothesis{ID: id, Expect: study.Greater, By: by}})
		c := research.Comparison{Hypothesis: id, ExperimentA: id + "a", ExperimentB: id + "b"}
		design.Comparisons = append(design.Comparisons, c)
		for _, x := range []string{c.ExperimentA, c.ExperimentB} {
			apply(research.ActionDecided{Action: research.Action{ID: "p" + x, Kind: research.Propose}})
			apply(research.ExperimentProposed{Action: "p" + x, Experiment: x, Parameters: study.Params{"x": x}})
		}
		for _, seed := range design.Seeds {
			common := r.NormFloat64() // what pairing takes away
			for x, v := range map[string]float64{c.ExperimentA: common + draw(r, h), c.ExperimentB: common} {
				trial := research.TrialID(x, seed)
				a := research.Action{ID: trial + "-a1", Kind: research.Try, Experiment: x, Trial: trial, Seed: seed, Purpose: research.ForValidation, Attempt: 1}
				apply(research.ActionDecided{Action: a})
				apply(research.AttemptEnded{Action: a.ID, Attempt: research.Attempt{Trial: trial, Class: research.Succeeded, Metrics: map[string]float64{"m": v}}})
				apply(research.TrialCompleted{Trial: trial, Outcome: research.Succeeded})
			}
		}
	}
	apply(design)
	var out []string
	for _, j := range stats.Judge(s) {
		out = append(out, j.Verdict)
	}
	return out
}

// rate is the share of studies in which a hypothesis has a verdict.
func rate(t *testing.T, verdict string, hypotheses int, by float64, draw func(r *rand.Rand, h int) float64) float64 {
	t.Helper()
	n := 0
	for i := range studies {
		for _, v := range judged(t, int64(i), hypotheses, by, draw) {
			if v == verdict {
				n++
				break
			}
		}
	}
	return float64(n) / float64(studies)
}

// bound is alpha and three standard errors of a rate that is alpha.
var bound = alpha + 3*math.Sqrt(alpha*(1-alpha)/float64(studies))

// TestNullStudies: where nothing is to be found, at most alpha of all studies
// find something, whatever the noise is like and however many hypotheses one
// has.
func TestNullStudies(t *testing.T) {
	normal := func(r *rand.Rand, _ int) float64 { return r.NormFloat64() }
	for _, c := range []struct {
		name       string
		hypotheses int
		by         float64
		draw       func(*rand.Rand, int) float64
	}{
		{"normal", 1, 0, normal},
		{"normal, with a smallest difference that matters", 1, 0.5, normal},
		{"five hypotheses", 5, 0, normal},
		{"heavy tails", 1, 0, func(r *rand.Rand, _ int) float64 { return r.NormFloat64() / math.Abs(r.NormFloat64()) }},
		{"few values", 1, 0, func(r *rand.Rand, _ int) float64 { return float64(r.IntN(3) - 1) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := rate(t, research.Supported, c.hypotheses, c.by, c.draw)
			t.Logf("%.2f %% of null studies come out supported", 100*got)
			if got > bound {
				t.Errorf("%.2f %% of null studies come out supported, at most %.2f %% may", 100*got, 100*bound)
			}
		})
	}
}

// TestTrueClaimsAreNotRefuted: where the difference is just what matters, at
// most alpha of all studies refute it.
func TestTrueClaimsAreNotRefuted(t *testing.T) {
	t.Parallel()
	got := rate(t, research.Refuted, 1, 0.5, func(r *rand.Rand, _ int) float64 { return 0.5 + r.NormFloat64() })
	t.Logf("%.2f %% of true claims come out refuted", 100*got)
	if got > bound {
		t.Errorf("%.2f %% of true claims come out refuted, at most %.2f %% may", 100*got, 100*bound)
	}
}

// TestPower: a known effect is found as often as theory says: the power of the
// paired t test, from the noncentral t distribution.
func TestPower(t *testing.T) {
	t.Parallel()
	for _, effect := range []float64{0.5, 1, 1.5} {
		got := rate(t, research.Supported, 1, 0, func(r *rand.Rand, _ int) float64 { return effect + r.NormFloat64() })
		want := power(effect, pairs)
		se := math.Sqrt(want * (1 - want) / float64(studies))
		t.Logf("effect %v: power %.4f, theory %.4f", effect, got, want)
		if math.Abs(got-want) > 3*se {
			t.Errorf("effect %v: power %.4f, theory says %.4f ± %.4f", effect, got, want, 3*se)
		}
	}
}

// power is the chance that a two-sided paired t test at alpha rejects in the
// direction of an effect of so many standard deviations of the differences:
// P(T > c) for noncentral T, integrated over the chi distribution of the
// estimated deviation (Johnson, Kotz and Balakrishnan, Continuous Univariate
// Distributions 2, 1995, section 31.2).
func power(effect float64, n int) float64 {
	nu := float64(n - 1)
	c := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: nu}.Quantile(1 - alpha/2)
	delta := effect * math.Sqrt(float64(n))
	chi := distuv.ChiSquared{K: nu}
	sum, steps, most := 0.0, 20_000, chi.Quantile(1-1e-12)
	for i := range steps {
		v := (float64(i) + 0.5) / float64(steps) * most
		sum += distuv.UnitNormal.CDF(delta-c*math.Sqrt(v/nu)) * chi.Prob(v)
	}
	return sum * most / float64(steps)
}
