// Command search measures how near to the least value of known functions a search comes,
// ours and Optuna's, on the same functions and, where they are noisy, on the same noise.
//
//	go run ./search                                   # ours, the reference functions
//	go run ./search -optuna DIR -samplers tpe,gp,cma  # DIR: where Optuna and cmaes can be imported from
package main

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"ratchet/internal/research"
	"ratchet/internal/search"
	"ratchet/study"
)

//go:embed optuna_peer.py
var peer string

// bench says what to measure.
type bench struct {
	experiments, parallel, seeds, times int
	noise                               float64 // of one trial, in standard deviations of the function
	optuna                              string
	python                              string
}

// searched is one search: the regret of what it holds to be the best after each experiment (of
// a front, the share of the hypervolume that it lacks),
// and what its proposals took.
type searched struct {
	regrets []float64
	took    []time.Duration
}

func main() {
	var b bench
	only := flag.String("problems", "", "a part of the names of the functions, separated by commas")
	set := flag.String("set", "reference", "reference, others or fronts")
	methods := flag.String("methods", "auto", "search methods of a study, separated by commas; none: -")
	samplers := flag.String("samplers", "tpe,gp,cma", "Optuna's samplers (tpe, gp, cma, nsga, random), where -optuna says where it is")
	at := flag.String("at", "50,200", "after how many experiments to look")
	profile := flag.String("profile", "", "write a profile of the processor's time")
	flag.IntVar(&b.experiments, "experiments", 50, "experiments of a search")
	flag.IntVar(&b.parallel, "parallel", 1, "experiments at a time")
	flag.IntVar(&b.seeds, "seeds", 1, "trials of an experiment")
	flag.IntVar(&b.times, "times", 20, "searches of each kind")
	flag.Float64Var(&b.noise, "noise", 0, "standard deviation of a trial's error, as a part of the function's")
	flag.StringVar(&b.optuna, "optuna", "", "folders to import Optuna and cmaes from, separated by colons")
	flag.StringVar(&b.python, "python", "/usr/bin/python3", "the interpreter for Optuna")
	flag.Parse()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		defer pprof.StopCPUProfile()
	}
	if *set == "fronts" {
		b.fronts(*only, *methods, *samplers, *at)
		return
	}
	problems := reference
	if *set == "others" {
		problems = others
	}
	for _, p := range problems {
		if *only != "" && !slices.ContainsFunc(strings.Split(*only, ","), func(s string) bool { return strings.Contains(p.name, s) }) {
			continue
		}
		deviation := b.noise * p.deviation()
		if *methods != "-" {
			for _, m := range strings.Split(*methods, ",") {
				b.row(p.name, m, *at, func(k uint64) (searched, error) { return b.ours(p, m, deviation, k) })
			}
		}
		if b.optuna != "" {
			for _, s := range strings.Split(*samplers, ",") {
				b.row(p.name, "Optuna "+s, *at, func(k uint64) (searched, error) { return b.theirs(p, s, deviation, k) })
			}
		}
	}
}

// row measures one kind of search and prints its row of the table.
func (b bench) row(of, name, at string, search func(k uint64) (searched, error)) {
	all := make([]searched, b.times)
	var wg sync.WaitGroup
	next := make(chan int)
	for range 2 {
		wg.Go(func() {
			for k := range next {
				s, err := search(uint64(k))
				if err != nil {
					fmt.Fprintf(os.Stderr, "%s, %s: %v\n", of, name, err)
					os.Exit(1)
				}
				all[k] = s
			}
		})
	}
	for k := range b.times {
		next <- k
	}
	close(next)
	wg.Wait()
	fmt.Printf("| %s | %s |", of, name)
	for _, s := range strings.Split(at, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n > b.experiments {
			continue
		}
		var x []float64
		for _, r := range all {
			x = append(x, r.regrets[min(n, len(r.regrets))-1])
		}
		slices.Sort(x)
		// What one of the last ten proposals took: the median and the longest.
		var took []time.Duration
		for _, r := range all {
			took = append(took, r.took[max(0, min(n, len(r.took))-10):min(n, len(r.took))]...)
		}
		slices.Sort(took)
		fmt.Printf(" %d: %.2g (%.2g to %.2g); %.0f, %.0f ms |", n, (x[len(x)/2]+x[(len(x)-1)/2])/2, x[len(x)/4], x[len(x)*3/4],
			took[len(took)/2].Seconds()*1000, took[len(took)-1].Seconds()*1000)
	}
	fmt.Println()
}

// errors are those of the trials of an experiment; the same for every search that has its
// index and seed.
func (b bench) errors(k uint64, index int, deviation float64) []float64 {
	r := rand.New(rand.NewPCG(k, uint64(index)))
	out := make([]float64, b.seeds)
	for i := range out {
		out[i] = deviation * r.NormFloat64()
	}
	return out
}

// ours is a search of ours, through the core's own events.
func (b bench) ours(p problem, method string, deviation float64, k uint64) (out searched, err error) {
	st := &study.Study{Objective: study.Objective{Metric: "y", Goal: study.Minimize}, Parameters: p.parameters}
	out.took, err = b.drive(st, method, k, func(x study.Params, index, trial int) map[string]float64 {
		return map[string]float64{"y": p.value(x) + b.errors(k, index, deviation)[trial]}
	}, func(s *research.State) {
		best := s.Best()
		if b.noise > 0 && b.seeds > 1 {
			id, _ := search.Choose(s)
			best = s.Experiment(id)
		}
		out.regrets = append(out.regrets, p.value(best.Parameters)-p.least)
	})
	return out, err
}

// drive carries out a search through the core's own events: measure gives the metrics of a
// trial of the experiment with an index, and after each of them done sees the state. took is
// what each proposal took.
func (b bench) drive(st *study.Study, method string, k uint64, measure func(x study.Params, index, trial int) map[string]float64, done func(*research.State)) (took []time.Duration, err error) {
	st.Search, st.Parallel = study.Search{Method: method, Experiments: b.experiments, Seeds: b.seeds}, b.parallel
	s := research.New()
	apply := func(payloads ...research.Payload) {
		for _, d := range payloads {
			if e := s.Apply(research.Event{Seq: s.Seq + 1, Time: time.Unix(1, 0), Data: d}); e != nil && err == nil {
				err = e
			}
		}
	}
	plan := research.Plan{Experiments: b.experiments, Arms: []study.Params{{}}}
	for i := range b.seeds {
		plan.Seeds = append(plan.Seeds, int64(i+1))
	}
	apply(research.RunCreated{Run: "bench", Study: st, Seed: rand.New(rand.NewPCG(k, 7)).Int64()}, research.PlanMade{Plan: plan})
	complete := func(x *research.Experiment) {
		for i := range b.seeds {
			t := x.Trials[i]
			a := research.Action{ID: t.ID + "-a1", Kind: research.Try, Trial: t.ID, Experiment: t.Experiment, Attempt: 1}
			apply(research.ActionDecided{Action: a},
				research.AttemptEnded{Action: a.ID, Attempt: research.Attempt{ID: a.ID, Trial: t.ID, Number: 1, Class: research.Succeeded, Metrics: measure(x.Parameters, x.Index, i)}},
				research.TrialCompleted{Trial: t.ID, Outcome: research.Succeeded})
		}
		done(s)
	}
	for i := range b.experiments {
		a := research.Action{ID: fmt.Sprint("propose-", i+1), Kind: research.Propose, Index: i}
		apply(research.ActionDecided{Action: a})
		begun := time.Now()
		x, ok := search.Propose(s, i)
		took = append(took, time.Since(begun))
		if !ok || err != nil {
			break
		}
		apply(research.ExperimentProposed{Action: a.ID, Experiment: fmt.Sprint("e", i+1), Arm: x.Arm, Parameters: x.Parameters, Repeats: x.Repeats, Seeds: x.Seeds, By: &x.By})
		if i >= b.parallel-1 {
			complete(s.Experiments[i-b.parallel+1])
		}
	}
	for _, x := range s.Experiments[s.Frontier:] {
		complete(x)
	}
	return took, err
}

// theirs is a search of Optuna's, one experiment at a time.
func (b bench) theirs(p problem, sampler string, deviation float64, k uint64) (out searched, err error) {
	best, regret := math.Inf(1), 0.0
	out.took, err = b.optunas(p.parameters, sampler, k, 1, 0, func(x study.Params, i int) []float64 {
		y := p.value(x)
		mean := 0.0
		for _, e := range b.errors(k, i, deviation) {
			mean += (y + e) / float64(b.seeds)
		}
		if mean < best {
			best, regret = mean, y-p.least
		}
		out.regrets = append(out.regrets, regret)
		return []float64{mean}
	})
	return out, err
}

// optunas carries out a search by one of Optuna's samplers: measure gives an experiment's
// objectives, and behind them by how much it breaks each constraint.
func (b bench) optunas(space []study.Parameter, sampler string, k uint64, objectives, constraints int, measure func(x study.Params, index int) []float64) (took []time.Duration, err error) {
	cmd := exec.Command(b.python, "-c", peer)
	cmd.Env = append(os.Environ(), "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return took, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return took, err
	}
	if err := cmd.Start(); err != nil {
		return took, err
	}
	lines := bufio.NewReader(stdout)
	err = json.NewEncoder(in).Encode(map[string]any{"path": b.optuna, "sampler": sampler, "seed": k, "experiments": b.experiments, "space": space, "objectives": objectives, "constraints": constraints})
	for i := 0; i < b.experiments && err == nil; i++ {
		begun := time.Now()
		var line []byte
		if line, err = lines.ReadBytes('\n'); err != nil {
			break
		}
		took = append(took, time.Since(begun))
		var x study.Params
		if err = json.Unmarshal(line, &x); err != nil {
			break
		}
		err = json.NewEncoder(in).Encode(measure(x, i))
	}
	if ended := cmd.Wait(); err == nil || errors.Is(err, io.EOF) {
		err = ended
	}
	return took, err
}
