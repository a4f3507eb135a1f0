package forecast

import (
	"math"

	"gonum.org/v1/gonum/mat"

	"ratchet/internal/research"
	"ratchet/internal/stats"
	"ratchet/study"
)

// Risk is the chance that a trial fails, learned from the parameters and the
// outcomes of those that are complete: logistic regression with a penalty on
// the squares of the coefficients (Hoerl and Kennard's ridge, for binary
// outcomes: le Cessie and van Houwelingen, Applied Statistics 41, 1992).
type Risk struct {
	N      int `json:"n"` // trials it was learned from
	Failed int `json:"failed"`
	// Brier is the mean square of the error of predictions for trials that were
	// left out (five folds): 0 is perfect. Base is the same for always
	// predicting the share that failed; a Brier of no less than that says that
	// the parameters tell nothing.
	Brier float64 `json:"brier"`
	Base  float64 `json:"base"`

	parameters []study.Parameter
	weights    []float64
}

// leastTrials is how many trials of either outcome a risk needs.
const leastTrials = 3

// Fit learns the risk of a run's trials; nil where too few succeeded or
// failed to learn anything.
func Fit(s *research.State) *Risk {
	var params []study.Params
	var failed []float64
	for _, x := range s.Experiments {
		for _, t := range x.Trials {
			if t.Outcome == "" {
				continue
			}
			y := 1.0
			if t.Outcome == research.Succeeded {
				y = 0
			}
			params, failed = append(params, x.Parameters), append(failed, y)
		}
	}
	r := &Risk{N: len(failed), parameters: s.Created.Study.Parameters}
	for _, y := range failed {
		r.Failed += int(y)
	}
	if r.Failed < leastTrials || r.N-r.Failed < leastTrials {
		return nil
	}
	rows := make([][]float64, len(params))
	for i, p := range params {
		rows[i] = r.features(p)
	}
	const folds = 5
	for fold := range folds {
		var trainX [][]float64
		var trainY []float64
		for i := range rows {
			if i%folds != fold {
				trainX, trainY = append(trainX, rows[i]), append(trainY, failed[i])
			}
		}
		w, rate := regress(trainX, trainY), stats.Mean(trainY)
		for i := fold; i < len(rows); i += folds {
			e, b := logistic(dot(w, rows[i]))-failed[i], rate-failed[i]
			r.Brier += e * e / float64(r.N)
			r.Base += b * b / float64(r.N)
		}
	}
	r.weights = regress(rows, failed)
	return r
}

// Chance is the chance that a trial with these parameters fails.
func (r *Risk) Chance(p study.Params) float64 { return logistic(dot(r.weights, r.features(p))) }

// Tells reports whether the parameters say more than the share that failed.
func (r *Risk) Tells() bool { return r != nil && r.Brier < 0.9*r.Base }

// features are one, then for each parameter whether it is there and its value
// from −1 to 1, or for one with a list of values, which of them it has.
func (r *Risk) features(p study.Params) []float64 {
	out := []float64{1}
	for _, d := range r.parameters {
		v, there := p[d.Name]
		if d.Kind == study.Categorical {
			for _, possible := range d.Values {
				out = append(out, one(there && v == possible))
			}
			continue
		}
		x, _ := v.(float64)
		low, high := d.Low, d.High
		if d.Log && x > 0 {
			x, low, high = math.Log(x), math.Log(low), math.Log(high)
		}
		scaled := 0.0
		if there && high > low {
			scaled = 2*(x-low)/(high-low) - 1
		}
		out = append(out, one(there), scaled)
	}
	return out
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func logistic(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func dot(a, b []float64) float64 {
	sum := 0.0
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

// regress finds the weights by Newton's method. The penalty, of one, is on all
// but the first.
func regress(rows [][]float64, y []float64) []float64 {
	k := len(rows[0])
	w := make([]float64, k)
	for range 25 {
		gradient, hessian := mat.NewVecDense(k, nil), mat.NewSymDense(k, nil)
		for i := 1; i < k; i++ {
			gradient.SetVec(i, -w[i])
			hessian.SetSym(i, i, 1)
		}
		hessian.SetSym(0, 0, 1e-6) // all failed, or none, in a fold
		for n, row := range rows {
			p := logistic(dot(w, row))
			for i := range k {
				gradient.SetVec(i, gradient.AtVec(i)+row[i]*(y[n]-p))
				for j := i; j < k; j++ {
					hessian.SetSym(i, j, hessian.At(i, j)+row[i]*row[j]*p*(1-p))
				}
			}
		}
		var c mat.Cholesky
		if !c.Factorize(hessian) {
			return w
		}
		var step mat.VecDense
		if c.SolveVecTo(&step, gradient) != nil {
			return w
		}
		largest := 0.0
		for i := range k {
			d := max(-4, min(4, step.AtVec(i)))
			w[i] += d
			largest = max(largest, math.Abs(d))
		}
		if largest < 1e-8 {
			break
		}
	}
	return w
}
