package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"ratchet/internal/research"
	"ratchet/internal/search"
	"ratchet/internal/stats"
	"ratchet/study"
)

// Schema names the form of results.json.
const Schema = "ratchet/results/v1"

// JSONSchema is the JSON Schema of results.json.
//
//go:embed results.schema.json
var JSONSchema []byte

// Results is the content of results.json.
type Results struct {
	Schema    string           `json:"schema"`
	Run       string           `json:"run"`
	Origin    *research.Origin `json:"origin,omitempty"` // of a fork
	Name      string           `json:"name"`
	Status    research.Status  `json:"status"`
	Why       string           `json:"why,omitempty"`
	Question  string           `json:"question"`
	Objective study.Objective  `json:"objective"`
	// Objectives are all where there are several; the first is Objective.
	Objectives  []study.Objective   `json:"objectives,omitempty"`
	Constraints []study.Constraint  `json:"constraints,omitempty"`
	Hypotheses  []Hypothesis        `json:"hypotheses"`
	Best        *Best               `json:"best"`
	Front       *Front              `json:"front,omitempty"` // where there are several objectives
	Experiments []Experiment        `json:"experiments"`
	Importance  []search.Importance `json:"importance"`
	// Expected is what the search expected of another experiment when it ended; nil: it had
	// no model.
	Expected     *search.Expectation    `json:"expected,omitempty"`
	Gates        []Gate                 `json:"gates"`
	Review       []research.Check       `json:"review"`
	Reproduction *research.Reproduction `json:"reproduction"`
	Failures     []Failure              `json:"failures"`
	Stages       []Stage                `json:"stages"`
	Plan         *research.Plan         `json:"plan"`
	// Outlook is what the search said of what validation could show.
	Outlook    *stats.Outlook   `json:"outlook,omitempty"`
	Validation study.Validation `json:"validation"`
	// Program is, of an open run, the digest of the manifest of the study's own files.
	Program string `json:"program,omitempty"`
	// Ablations are, of an open run, its best without each of its changes.
	Ablations []research.Ablation `json:"ablations,omitempty"`

	Seed int64 `json:"seed"`
	// InputChanges are changes of inputs that were accepted, before
	// anything that counts was measured.
	InputChanges []string `json:"input_changes,omitempty"`
	// Retried says which trials had failed and were tried again, by whose wish.
	Retried     []string        `json:"retried,omitempty"`
	Cost        Cost            `json:"cost"`
	Usage       Totals          `json:"usage"`
	Environment json.RawMessage `json:"environment"`
	Journal     Journal         `json:"journal"`
	// Digest is the SHA-256 of everything here that does not depend on time,
	// host or luck.
	Digest string `json:"digest"`
}

// Hypothesis is a claim with its verdict and where that comes from.
type Hypothesis struct {
	ID      string `json:"id"`
	Claim   string `json:"claim"`
	Derived bool   `json:"derived,omitempty"`
	// Added is the record by which a fork added the claim, when some results
	// were known; 0: it was stated before anything was measured.
	Added     int64           `json:"added,omitempty"`
	Expect    string          `json:"expect"`
	Metric    string          `json:"metric"`
	By        float64         `json:"by,omitempty"`
	A         Side            `json:"a"`
	B         Side            `json:"b"`
	Exact     bool            `json:"exact,omitempty"`
	Verdict   string          `json:"verdict"`
	Why       string          `json:"why"`
	Effect    *float64        `json:"effect"`   // mean of a − b
	Interval  *[2]float64     `json:"interval"` // at the level 1 − alpha
	P         *float64        `json:"p"`
	PAdjusted *float64        `json:"p_adjusted"`
	Test      string          `json:"test"`
	N         int             `json:"n"`
	TunedOver int             `json:"tuned_over"`
	Pairs     []research.Pair `json:"pairs"`
	research.Grounds
	Evidence []Evidence `json:"evidence"`
}

// Side is one side of a comparison: what it fixes, and the experiment that
// stands for it.
type Side struct {
	Fixed      study.Params `json:"fixed"`
	Experiment string       `json:"experiment,omitempty"`
	Parameters study.Params `json:"parameters,omitempty"`
	// Mean and Interval are of the metric over the fresh seeds that both
	// sides have. There is no interval where the values do not vary.
	Mean     *float64    `json:"mean"`
	Interval *[2]float64 `json:"interval"`
}

// Evidence is where a number came from.
type Evidence struct {
	Experiment string `json:"experiment"`
	Trial      string `json:"trial"`
	Seed       int64  `json:"seed"`
	Digest     string `json:"digest"` // of the manifest of what the attempt left
}

// Best is the configuration with the best objective; of several objectives, the one of the
// front that on its own dominates the most. Metrics are means over the fresh seeds, which had
// no part in choosing it.
type Best struct {
	Experiment string `json:"experiment"`
	// ByModel: it was chosen by a model of all outcomes, not for its own mean.
	ByModel    bool               `json:"by_model,omitempty"`
	Parameters study.Params       `json:"parameters"`
	Metrics    map[string]float64 `json:"metrics"` // empty where a validating trial failed
	Seeds      []int64            `json:"seeds"`
	Search     map[string]float64 `json:"search_metrics"` // means over the search's seeds
	// Kept says of each constraint whether it keeps to it on the fresh seeds.
	Kept     []stats.Kept `json:"constraints,omitempty"`
	Evidence []Evidence   `json:"evidence"`
}

// Experiment is one configuration with its trials.
type Experiment struct {
	ID         string       `json:"id"`
	Parent     string       `json:"parent,omitempty"`
	Arm        int          `json:"arm"`
	Parameters study.Params `json:"parameters"`
	// Repeats is the experiment whose configuration was measured again; empty: it was new.
	Repeats string   `json:"repeats,omitempty"`
	Method  string   `json:"method,omitempty"` // of the search that proposed it
	Value   *float64 `json:"value"`            // mean of the objective over the search's seeds
	// Means are those of all objectives and constraints, and Excess by how much it breaks the
	// latter, as a part of their bounds, where more than one metric counts.
	Means  map[string]float64 `json:"means,omitempty"`
	Excess float64            `json:"excess,omitempty"`
	Trials []Trial            `json:"trials"`
	// Proposal is of an open run.
	Proposal *Proposal `json:"proposal,omitempty"`
}

// Trial is one experiment with one seed.
type Trial struct {
	ID       string             `json:"id"`
	Seed     int64              `json:"seed"`
	Purpose  string             `json:"purpose"`
	Attempts int                `json:"attempts"`
	Outcome  string             `json:"outcome"` // empty: not complete
	Halted   int                `json:"halted_at_step,omitempty"`
	Metrics  map[string]float64 `json:"metrics"`
	// Reported is what the program itself said where an evaluation measured.
	Reported map[string]float64 `json:"reported_by_program,omitempty"`
	// Parameters are what it ran with where that is not what its experiment
	// says: on_resource has changed them after it had run out of something.
	Parameters study.Params `json:"parameters,omitempty"`
	Notes      []string     `json:"notes,omitempty"`
	Evidence   string       `json:"evidence,omitempty"`
}

// Gate is a condition and whether it holds.
type Gate struct {
	Gate   study.Gate `json:"gate"`
	Passed bool       `json:"passed"`
	Why    string     `json:"why,omitempty"`
}

// Stage is when a stage was.
type Stage struct {
	Name    string     `json:"name"`
	Started time.Time  `json:"started"`
	Ended   *time.Time `json:"ended"`
	Seconds float64    `json:"seconds"`
	Cut     string     `json:"cut,omitempty"`
	Seq     int64      `json:"seq"` // of the event that ended it
}

// Cost is what a run spent on model calls.
type Cost struct {
	USD      float64 `json:"usd"`
	Tokens   int64   `json:"tokens"`
	Calls    int     `json:"calls,omitempty"`    // that were sent to a provider
	Replayed int     `json:"replayed,omitempty"` // answered out of the record
}

// Totals is what the attempts used together.
type Totals struct {
	Experiments int     `json:"experiments"`
	Trials      int     `json:"trials"`
	Attempts    int     `json:"attempts"`
	Wall        float64 `json:"attempt_wall_s"`
	CPU         float64 `json:"attempt_cpu_s"`
	Elapsed     float64 `json:"elapsed_s"` // from the first event to the last
}

// Journal names the run's last record: who keeps its hash can prove later that
// nothing before it was changed.
type Journal struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
}

// Code is where the study's folder and its inputs came from, as environment.json has
// it.
func (r *Results) Code() []research.Code {
	var env struct {
		Code []research.Code `json:"code"`
	}
	if json.Unmarshal(r.Environment, &env) != nil {
		return nil // of a release that did not say it
	}
	return env.Code
}

// Build makes the results of a run as it stands. environment is the content
// of the object that the run's first event names.
func Build(s *research.State, head Journal, environment json.RawMessage) *Results {
	st := s.Created.Study
	r := &Results{
		Schema: Schema, Run: s.Created.Run, Origin: s.Origin, Name: st.Name, Status: s.Status, Why: s.Why, Question: research.Harmless(st.Question),
		Objective: st.Objective, Objectives: st.Objectives, Constraints: st.Constraints, Hypotheses: []Hypothesis{}, Experiments: []Experiment{}, Importance: search.Importances(s), Expected: search.Expected(s),
		Gates: []Gate{}, Review: s.Review, Reproduction: s.Again, Failures: []Failure{}, Stages: []Stage{},
		Plan: s.Plan, Validation: st.Validation, Seed: s.Created.Seed, InputChanges: s.Accepted, Retried: s.Retried, Environment: environment, Journal: head,
		Usage: Totals{
			Experiments: len(s.Experiments), Trials: s.Tally.Trials, Attempts: s.Tally.Attempts,
			Wall: s.Tally.Wall, CPU: s.Tally.CPU, Elapsed: s.Time.Sub(s.Began).Seconds(),
		},
	}
	m := s.Tally.Models
	r.Cost = Cost{USD: m.USD, Tokens: m.Tokens, Calls: m.Calls, Replayed: m.Again}
	if r.Review == nil {
		r.Review = []research.Check{}
	}
	for _, x := range s.Experiments {
		r.experiment(s, x)
	}
	for _, h := range s.Hypotheses {
		r.Hypotheses = append(r.Hypotheses, hypothesis(s, h))
	}
	r.Best, r.Front = best(s), frontOf(s)
	if st.Open() {
		r.Program, r.Ablations = s.Snapshot, s.Ablations
	}
	for _, g := range s.Gates {
		r.Gates = append(r.Gates, Gate{g.Gate, g.Passed, g.Why})
	}
	for _, rec := range s.StageRecord {
		stage := Stage{Name: rec.Name, Started: rec.Started, Cut: rec.Cut, Seq: rec.Seq}
		if !rec.Ended.IsZero() {
			stage.Ended, stage.Seconds = &rec.Ended, rec.Ended.Sub(rec.Started).Seconds()
		}
		r.Stages = append(r.Stages, stage)
	}
	r.Outlook = stats.OutlookOf(s)
	r.Digest = r.digest()
	return r
}

func (r *Results) experiment(s *research.State, x *research.Experiment) {
	e := Experiment{ID: x.Experiment, Parent: x.Parent, Arm: x.Arm, Parameters: x.Parameters, Repeats: x.Repeats, Value: x.Value, Trials: []Trial{}}
	if x.By != nil {
		e.Method = x.By.Method
	}
	e.weigh(s, x)
	e.propose(s, x)
	for _, t := range x.Trials {
		trial := Trial{ID: t.ID, Seed: t.Seed, Purpose: t.Purpose, Attempts: len(t.Attempts), Outcome: string(t.Outcome), Metrics: t.Metrics()}
		if trial.Metrics == nil {
			trial.Metrics = map[string]float64{}
		}
		if last := t.Last(); last != nil {
			trial.Halted, trial.Notes, trial.Evidence, trial.Reported = last.Halted, last.Notes, last.Evidence, last.Reported
			if t.Outcome == research.Succeeded {
				trial.Parameters = last.Parameters
			}
		}
		e.Trials = append(e.Trials, trial)
		r.failures(s.Created.Study, x, t, s.Began)
	}
	r.Experiments = append(r.Experiments, e)
}

func hypothesis(s *research.State, h *research.Hypothesis) Hypothesis {
	out := Hypothesis{
		ID: h.ID, Claim: research.Harmless(h.Claim), Derived: h.Derived != "", Added: h.Added, Expect: h.Expect, Metric: s.Created.Study.MetricOf(h.Hypothesis), By: h.By,
		A: Side{Fixed: h.A}, B: Side{Fixed: h.B}, Exact: h.Exact,
		Verdict: research.Undecided, Why: "not judged yet", Pairs: []research.Pair{}, Evidence: []Evidence{},
	}
	if j := h.Judgment; j != nil {
		out.Verdict, out.Why, out.Effect, out.Interval = j.Verdict, j.Why, j.Effect, j.Interval
		out.P, out.PAdjusted, out.Test, out.N, out.Pairs, out.Grounds = j.P, j.PAdjusted, j.Test, j.N, j.Pairs, j.Grounds
	}
	c := h.Comparison
	if c == nil {
		return out
	}
	if len(out.Pairs) > 1 {
		interval := intervalOf(1-s.Created.Study.Validation.Alpha, out.Planned == 0)
		out.A.summarise(out.Pairs, interval, func(p research.Pair) float64 { return p.A })
		out.B.summarise(out.Pairs, interval, func(p research.Pair) float64 { return p.B })
	}
	out.TunedOver = c.TunedOver
	for _, side := range []struct {
		to *Side
		id string
	}{{&out.A, c.ExperimentA}, {&out.B, c.ExperimentB}} {
		if x := s.Experiment(side.id); x != nil {
			side.to.Experiment, side.to.Parameters = side.id, x.Parameters
			for _, p := range out.Pairs {
				out.Evidence = append(out.Evidence, evidenceOf(s.Trial(s.TrialID(side.id, p.Seed))))
			}
		}
	}
	return out
}

// summarise gives a side its mean and the interval of it.
func (s *Side) summarise(pairs []research.Pair, interval func([]float64) *[2]float64, of func(research.Pair) float64) {
	values := make([]float64, len(pairs))
	for i, p := range pairs {
		values[i] = of(p)
	}
	mean := stats.Mean(values)
	s.Mean, s.Interval = &mean, interval(values)
}

// intervalOf is how a side's interval is computed at a level. What a release
// before 0.3 has judged keeps the interval that it had.
func intervalOf(level float64, earlier bool) func([]float64) *[2]float64 {
	if earlier {
		return func(values []float64) *[2]float64 {
			low, high := stats.BCa(values, stats.Mean, level, rand.New(rand.NewPCG(1, 2)))
			return &[2]float64{low, high}
		}
	}
	return func(values []float64) *[2]float64 {
		sample := stats.NewSample(values)
		if low, high := sample.Interval(level); sample.Varies() && stats.Finite(low, high) {
			return &[2]float64{low, high}
		}
		return nil
	}
}

func evidenceOf(t *research.Trial) Evidence {
	e := Evidence{Experiment: t.Experiment, Trial: t.ID, Seed: t.Seed}
	if last := t.Last(); last != nil {
		e.Digest = last.Evidence
	}
	return e
}

func best(s *research.State) *Best {
	id := ""
	if s.Designed != nil {
		id = s.Designed.Best
	} else if x := s.Best(); x != nil {
		id = x.Experiment
	}
	x := s.Experiment(id)
	if x == nil {
		return nil
	}
	b := &Best{Experiment: id, ByModel: s.Chosen != nil && !s.Created.Study.Several(), Parameters: x.Parameters, Metrics: s.BestMetrics(), Seeds: []int64{}, Search: x.Means, Evidence: []Evidence{}}
	if b.Metrics == nil {
		b.Metrics = map[string]float64{}
	}
	if s.Designed != nil {
		b.Kept = stats.KeptBy(s, id)
	}
	for _, t := range x.Trials {
		if t.Purpose == research.ForValidation && t.Outcome == research.Succeeded {
			b.Seeds = append(b.Seeds, t.Seed)
			b.Evidence = append(b.Evidence, evidenceOf(t))
		}
	}
	return b
}

// digest covers what a repetition of the run must give again.
func (r *Results) digest() string {
	c := *r
	c.Origin = nil
	c.Run, c.Why, c.Environment, c.Journal, c.Usage, c.Digest = "", "", nil, Journal{}, Totals{}, ""
	c.Failures, c.Stages, c.Review, c.Importance, c.Retried = nil, nil, nil, nil, nil
	c.Plan, c.Outlook, c.Expected, c.Cost = nil, nil, nil, Cost{} // retries cost, replays do not
	c.Hypotheses = append([]Hypothesis{}, r.Hypotheses...)
	for i := range c.Hypotheses {
		c.Hypotheses[i].Evidence, c.Hypotheses[i].Earlier, c.Hypotheses[i].Replications = nil, nil, nil
	}
	if r.Best != nil {
		b := *r.Best
		b.Evidence = nil
		c.Best = &b
	}
	c.Experiments = append([]Experiment{}, r.Experiments...)
	for i := range c.Experiments {
		trials := append([]Trial{}, c.Experiments[i].Trials...)
		for k := range trials {
			trials[k].Attempts, trials[k].Evidence, trials[k].Notes, trials[k].Reported = 0, "", nil, nil
		}
		c.Experiments[i].Trials = trials
	}
	if r.Reproduction != nil {
		p := *r.Reproduction
		p.Why = ""
		c.Reproduction = &p
	}
	b, err := json.Marshal(c)
	if err != nil {
		panic(fmt.Sprintf("report: results always marshal: %v", err)) // metrics are finite
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// CheckDigest reports whether results that were read back are what their
// digest says.
func (r *Results) CheckDigest() bool { return r.digest() == r.Digest }

// Passed reports whether every gate holds.
func (r *Results) Passed() bool {
	for _, g := range r.Gates {
		if !g.Passed {
			return false
		}
	}
	return true
}
