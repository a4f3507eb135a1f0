package search

import (
	"math"

	"ratchet/internal/research"
	"ratchet/internal/search/pareto"
)

// Front is the Pareto front of a run with several objectives, by the means over the search's
// seeds: the experiments that keep to the constraints and that no other such one dominates, in
// the order of their proposals.
func Front(s *research.State) []*research.Experiment {
	front, _ := whole(s).weigh().kept(s)
	return front
}

// whole is a query that knows all experiments.
func whole(s *research.State) query {
	st := s.Created.Study
	return query{s: s, st: st, axes: newAxes(st.Parameters), known: s.Experiments, index: len(s.Experiments)}
}

// chooseFront picks the experiments of the front that are measured on the fresh seeds, by how
// much each adds to the hypervolume; the first is the best compromise. Where trials of one
// configuration differ, what counts of an experiment is what the models hold of it.
func chooseFront(s *research.State) (chosen []string) {
	q := whole(s)
	w := q.weigh()
	if len(w.experiments) >= q.startup() {
		for k, c := range q.model(w) {
			if k >= len(w.goals) || c.h.Noise() < leastRepeated {
				continue
			}
			for i, x := range w.points {
				w.values[i][k] = c.warp.back(c.m.Mean(x))
			}
		}
	}
	front, values := w.kept(s)
	if len(front) == 0 {
		return nil
	}
	scale := pareto.NewScale(values, w.values)
	for _, i := range pareto.Spread(values, scale.Reference, s.Created.Study.Validation.Front) {
		chosen = append(chosen, front[i].Experiment)
	}
	return chosen
}

// Progress is how a front grew: after each experiment, the hypervolume of what keeps to the
// constraints, as a share of the space from the last front's best values to its reference
// point; see pareto.NewScale. nil: nothing keeps to them.
func Progress(s *research.State) []float64 {
	q := whole(s)
	w := q.weigh()
	_, last := w.kept(s)
	if len(last) == 0 {
		return nil
	}
	scale := pareto.NewScale(last, w.values)
	var front [][]float64
	volume, k := 0.0, 0
	out := make([]float64, len(s.Experiments))
	for i, x := range s.Experiments {
		if k < len(w.experiments) && w.experiments[k] == x {
			if p := w.values[k]; s.Excess(x) == 0 {
				front = pareto.Keep(front, p)
				volume = scale.Volume(front)
			}
			k++
		}
		out[i] = math.Round(volume*1e6) / 1e6
	}
	return out
}
