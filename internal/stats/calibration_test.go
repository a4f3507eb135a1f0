package stats_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat/distuv"

	"ratchet/internal/proof"
	"ratchet/internal/research"
	"ratchet/internal/stats"
	"ratchet/study"
)

// studies is how many studies a rate is estimated from.
var studies = proof.Of(400, 4000)

const alpha = 0.05

// noises are what differences can look like whose mean is zero.
var noises = []struct {
	name string
	draw func(r *rand.Rand) float64
	// most is the share of null studies that may come out supported, in either
	// direction, by the number of pairs; nil: 1.5 times alpha/2 from ten pairs on.
	most map[int]float64
}{
	{"normal", func(r *rand.Rand) float64 { return r.NormFloat64() }, nil},
	{"heavy tails (Laplace)", func(r *rand.Rand) float64 { return r.ExpFloat64() - r.ExpFloat64() }, nil},
	{"heavier tails (ratio of normals)", func(r *rand.Rand) float64 { return r.NormFloat64() / r.NormFloat64() }, nil},
	{"discrete (−1, 0, 1 alike)", func(r *rand.Rand) float64 { return float64(r.IntN(3) - 1) }, nil},
	{"mostly zero (−1 or 1 in a fifth)", func(r *rand.Rand) float64 { return []float64{-1, 1, 0, 0, 0, 0, 0, 0, 0, 0}[r.IntN(10)] }, nil},
	{"skewed (exponential)", func(r *rand.Rand) float64 { return r.ExpFloat64() - 1 }, map[int]float64{10: 0.09, 20: 0.06, 50: 0.05}},
	{"skewed more (lognormal)", func(r *rand.Rand) float64 { return math.Exp(r.NormFloat64()) - math.Exp(0.5) }, map[int]float64{10: 0.13, 20: 0.09, 50: 0.075}},
	{"contaminated (+0.9 in a tenth, else −0.1)", func(r *rand.Rand) float64 {
		v := -0.1 + 0.02*r.NormFloat64()
		if r.Float64() < 0.1 {
			v++
		}
		return v
		// With ten pairs 35 of 100 samples show no sign of what is wrong with them.
	}, map[int]float64{10: 0.38, 20: 0.14, 50: 0.025}},
}

// simulated are the judgments of one study: for each hypothesis, draw gives the
// difference of a pair, or false where one side fails.
func simulated(t *testing.T, seed int64, pairs, hypotheses int, expect string, by float64, draw func(r *rand.Rand, h int) (float64, bool)) []research.Judgment {
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
		apply(research.HypothesisStated{Hypothesis: study.Hypothesis{ID: id, Expect: expect, By: by}})
		c := research.Comparison{Hypothesis: id, ExperimentA: id + "a", ExperimentB: id + "b"}
		design.Comparisons = append(design.Comparisons, c)
		for _, x := range []string{c.ExperimentA, c.ExperimentB} {
			apply(research.ActionDecided{Action: research.Action{ID: "p" + x, Kind: research.Propose}})
			apply(research.ExperimentProposed{Action: "p" + x, Experiment: x, Parameters: study.Params{"x": x}})
		}
		for _, seed := range design.Seeds {
			common := r.NormFloat64() // what pairing takes away
			d, ok := draw(r, h)
			for x, v := range map[string]float64{c.ExperimentA: common + d, c.ExperimentB: common} {
				trial := s.TrialID(x, seed)
				a := research.Action{ID: trial + "-a1", Kind: research.Try, Experiment: x, Trial: trial, Seed: seed, Purpose: research.ForValidation, Attempt: 1}
				end := research.Attempt{Trial: trial, Class: research.Succeeded, Metrics: map[string]float64{"m": v}}
				if !ok && x == c.ExperimentA {
					end = research.Attempt{Trial: trial, Class: research.Transient}
				}
				apply(research.ActionDecided{Action: a})
				apply(research.AttemptEnded{Action: a.ID, Attempt: end})
				apply(research.TrialCompleted{Trial: trial, Outcome: end.Class})
			}
		}
	}
	apply(design)
	return stats.Judge(s, nil)
}

// rate is the share of studies in which a hypothesis has a verdict.
func rate(t *testing.T, verdict string, pairs, hypotheses int, expect string, by float64, draw func(r *rand.Rand, h int) (float64, bool)) float64 {
	t.Helper()
	n := 0
	for i := range studies {
		for _, j := range simulated(t, int64(i), pairs, hypotheses, expect, by, draw) {
			if j.Verdict == verdict {
				n++
				break
			}
		}
	}
	return float64(n) / float64(studies)
}

// within is a rate and three standard errors of it.
func within(rate float64) float64 { return rate + 3*math.Sqrt(rate*(1-rate)/float64(studies)) }

// TestCalibration: where nothing is to be found, about as many studies find
// something as should, in either direction; and the interval has the true mean in
// it as often as it says, for every kind of noise that is not skewed.
func TestCalibration(t *testing.T) {
	for _, c := range noises {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, pairs := range []int{3, 5, 10, 20, 50} {
				greater, less, covered, intervals := 0, 0, 0, 0
				for i := range studies {
					j := simulated(t, int64(i), pairs, 1, study.Greater, 0, func(r *rand.Rand, _ int) (float64, bool) { return c.draw(r), true })[0]
					if j.Interval == nil {
						continue
					}
					intervals++
					if j.Interval[0] <= 0 && j.Interval[1] >= 0 {
						covered++
					}
					switch j.Verdict {
					case research.Supported:
						greater++
					case research.Refuted: // supported, had the claim been the other
						less++
					}
				}
				share := func(n int) float64 { return float64(n) / float64(studies) }
				coverage := float64(covered) / float64(max(intervals, 1))
				t.Logf("| %s | %d | %.1f %% | %.1f %% | %.1f %% |", c.name, pairs, 100*share(greater), 100*share(less), 100*coverage)
				most, bounded := 1.5*alpha/2, pairs >= 10
				if c.most != nil {
					most = c.most[pairs]
				}
				if bounded && max(share(greater), share(less)) > within(most) {
					t.Errorf("%d pairs: %.2f %% and %.2f %% of null studies come out supported, at most %.2f %% may", pairs, 100*share(greater), 100*share(less), 100*within(most))
				}
				if c.most == nil && pairs >= 5 && 1-coverage > within(0.07) {
					t.Errorf("%d pairs: %.2f %% of the intervals have the true mean in them", pairs, 100*coverage)
				}
			}
		})
	}
}

// TestConstantDifferencesDecideNothing: what does not vary, or by rounding alone,
// supports nothing.
func TestConstantDifferencesDecideNothing(t *testing.T) {
	for _, pairs := range []int{2, 10, 50} {
		for verdict, draw := range map[string]func(*rand.Rand, int) (float64, bool){
			"constant": func(*rand.Rand, int) (float64, bool) { return 0.5, true },
			"rounding": func(r *rand.Rand, _ int) (float64, bool) { return 0.5 * (1 + 1e-9*r.Float64()), true },
			"nothing":  func(*rand.Rand, int) (float64, bool) { return 0, true },
		} {
			j := simulated(t, 1, pairs, 1, study.Greater, 0.1, draw)[0]
			if j.Verdict != research.Undecided || !strings.Contains(j.Why, "nothing varied over the seeds") {
				t.Errorf("%s, %d pairs: %s, %s", verdict, pairs, j.Verdict, j.Why)
			}
		}
	}
}

// TestManyHypotheses: of fifty claims that are not so, none comes out supported
// but with a chance of alpha; of fifty that just hold, none refuted.
func TestManyHypotheses(t *testing.T) {
	t.Parallel()
	few := max(studies/8, 100)
	for _, pairs := range []int{2, 5, 10} {
		supported, refuted := 0, 0
		for i := range few {
			one := func(verdict string, by, mean float64) int {
				for _, j := range simulated(t, int64(i), pairs, 50, study.Greater, by, func(r *rand.Rand, _ int) (float64, bool) { return mean + r.NormFloat64(), true }) {
					if j.Verdict == verdict {
						return 1
					}
				}
				return 0
			}
			supported += one(research.Supported, 0, 0)
			refuted += one(research.Refuted, 0.5, 0.5)
		}
		most := alpha + 3*math.Sqrt(alpha*(1-alpha)/float64(few))
		t.Logf("%d pairs: %.1f %% of studies have a false support, %.1f %% a false refutation", pairs, 100*float64(supported)/float64(few), 100*float64(refuted)/float64(few))
		if n := float64(few); float64(supported)/n > most || float64(refuted)/n > most {
			t.Errorf("%d pairs: at most %.1f %% may", pairs, 100*most)
		}
	}
}

// TestTrueClaimsAreNotRefuted: where the difference is just what matters, half of
// alpha of all studies refute it, however few pairs they have.
func TestTrueClaimsAreNotRefuted(t *testing.T) {
	t.Parallel()
	for _, pairs := range []int{2, 3, 4, 5, 6, 10, 20, 50} {
		for _, expect := range []string{study.Greater, study.Less} {
			got := rate(t, research.Refuted, pairs, 1, expect, 0.5, func(r *rand.Rand, _ int) (float64, bool) {
				if expect == study.Less {
					return -0.5 + r.NormFloat64(), true
				}
				return 0.5 + r.NormFloat64(), true
			})
			t.Logf("%d pairs, %s: %.2f %% of true claims come out refuted", pairs, expect, 100*got)
			if got > within(1.5*alpha/2) {
				t.Errorf("%d pairs, %s: %.2f %% of true claims come out refuted", pairs, expect, 100*got)
			}
		}
	}
}

// TestMissingNotAtRandom: where the side that would lose fails instead, what is
// missing does not make the claim.
func TestMissingNotAtRandom(t *testing.T) {
	t.Parallel()
	got := rate(t, research.Supported, 12, 1, study.Greater, 0, func(r *rand.Rand, _ int) (float64, bool) {
		d := r.NormFloat64()
		return d, d > -0.3 // a fails where it would be worse
	})
	t.Logf("%.2f %% of null studies whose losses are missing come out supported", 100*got)
	if got > within(alpha/2) {
		t.Errorf("%.2f %% of null studies whose losses are missing come out supported", 100*got)
	}
}

// TestPower: a known effect is found nearly as often as by the paired t test
// (theory: the noncentral t distribution).
func TestPower(t *testing.T) {
	t.Parallel()
	for _, pairs := range []int{5, 10, 20, 50} {
		for _, effect := range []float64{0.3, 0.5, 1, 1.5} {
			got := rate(t, research.Supported, pairs, 1, study.Greater, 0, func(r *rand.Rand, _ int) (float64, bool) { return effect + r.NormFloat64(), true })
			want := power(effect, pairs)
			se := math.Sqrt(want * (1 - want) / float64(studies))
			t.Logf("%d pairs, effect %v: power %.3f, of the t test %.3f, ratio %.3f", pairs, effect, got, want, got/want)
			if got < 0.97*want-3*se || got > want+3*se {
				t.Errorf("%d pairs, effect %v: power %.4f, of the t test %.4f", pairs, effect, got, want)
			}
		}
	}
}

// TestSmallestDifference: what is said to be shown in eight of ten studies is.
func TestSmallestDifference(t *testing.T) {
	for _, n := range []int{5, 10, 20, 50} {
		d := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(n - 1)}
		if got := power((d.Quantile(1-alpha/2)+d.Quantile(0.8))/math.Sqrt(float64(n)), n); math.Abs(got-0.8) > 0.02 {
			t.Errorf("%d pairs: it is shown in %.3f of them", n, got)
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
