package stats

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"

	"ratchet/internal/research"
)

// Outlook is what a run's search says, before any fresh seed is run, of what
// validation will be able to show.
type Outlook struct {
	Metric string `json:"metric"` // the objective's
	Seeds  int    `json:"seeds"`  // fresh ones
	// Deviation is the standard deviation of a difference between two
	// configurations at the same seed, from the search's trials.
	Deviation float64 `json:"deviation"`
	// Smallest is about the smallest difference that the fresh seeds show in eight
	// of ten studies, the correction for the number of hypotheses included.
	Smallest float64 `json:"smallest_difference"`
	// Constant: nothing varied over the search's seeds.
	Constant bool `json:"constant,omitempty"`
}

// power is the chance with which Outlook.Smallest is shown.
const power = 0.8

// OutlookOf gives the outlook once validation is designed; nil where nothing can be
// said: nothing is compared, or the search had one seed.
//
// The deviation is the residual one of a two-way layout without interaction, the
// configurations to be validated by the search's seeds (Fisher, Statistical Methods for Research Workers,
// 1925), times √2: what a seed does to all of them drops out of differences. The
// smallest difference is the usual approximation of the t test's,
// (t(1−α/2) + t(power)) · deviation / √n.
func OutlookOf(s *research.State) *Outlook {
	if s.Designed == nil || len(s.Hypotheses) == 0 || len(s.Plan.Seeds) < 2 || len(s.Plan.Fresh) < 2 {
		return nil
	}
	o := &Outlook{Metric: s.Created.Study.Objective.Metric, Seeds: len(s.Plan.Fresh), Constant: true}
	validated := s.Validated()
	var rows [][]float64
	largest := 0.0
	for _, x := range s.Experiments {
		if x.Value == nil {
			continue
		}
		var row []float64
		for _, seed := range s.Plan.Seeds {
			v, _ := valueOf(s, x.Experiment, seed, o.Metric)
			row = append(row, v)
			largest = max(largest, math.Abs(v))
			o.Constant = o.Constant && math.Abs(v-row[0]) <= sameness*math.Max(math.Abs(v), math.Abs(row[0]))
		}
		if slices.Contains(validated, x.Experiment) {
			rows = append(rows, row)
		}
	}
	o.Constant = o.Constant && len(rows) > 0
	if o.Constant {
		return o
	}
	if len(rows) < 2 {
		return nil
	}
	if o.Deviation = math.Sqrt2 * residual(rows); o.Deviation <= sameness*largest {
		return nil // what seeds did, they did to all alike: too few of them to tell
	}
	alpha := s.Created.Study.Validation.Alpha / float64(len(s.Hypotheses))
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(o.Seeds - 1)}
	o.Smallest = (t.Quantile(1-alpha/2) + t.Quantile(power)) * o.Deviation / math.Sqrt(float64(o.Seeds))
	if !Finite(o.Deviation, o.Smallest) {
		return nil
	}
	return o
}

// residual is the standard deviation that is left in a table when the effects of
// its rows and of its columns are taken out.
func residual(rows [][]float64) float64 {
	columns := make([][]float64, len(rows[0]))
	var all []float64
	for _, row := range rows {
		for k, v := range row {
			columns[k] = append(columns[k], v)
		}
		all = append(all, row...)
	}
	grand, largest := Mean(all), 0.0
	var left []float64
	for _, row := range rows {
		mean := Mean(row)
		for k, v := range row {
			d := (v - mean) - (Mean(columns[k]) - grand)
			left = append(left, d)
			largest = max(largest, math.Abs(d))
		}
	}
	if largest == 0 {
		return 0
	}
	squares := 0.0
	for _, d := range left {
		squares += (d / largest) * (d / largest)
	}
	return largest * math.Sqrt(squares/float64((len(rows)-1)*(len(rows[0])-1)))
}

// Text says it in a sentence.
func (o *Outlook) Text() string {
	if o.Constant {
		return fmt.Sprintf("%s did not vary over the search's seeds: if it does not over the fresh ones either, no hypothesis can be decided; let the seed vary the data's split, or state exact comparisons (exact: true)", o.Metric)
	}
	return fmt.Sprintf("as noisy as the search was, %d fresh seeds show a difference of about %.2g in %s, and mostly miss a smaller one", o.Seeds, o.Smallest, o.Metric)
}
