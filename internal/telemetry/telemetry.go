// Package telemetry shows runs as metrics that Prometheus reads: each scrape is
// a fold of what the journal says then, so that nothing is counted twice or
// lost with a process.
package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"ratchet/internal/gateway/ledger"
	"ratchet/internal/monitor"
	"ratchet/internal/research"
)

// Run is a run as it stands.
type Run struct {
	State *research.State
	// Driven says that an engine drives it now.
	Driven bool
	// Health is nil if no process drives it.
	Health *monitor.Health
	// Calls are its model calls, those that were refused apart.
	Calls   []ledger.Call
	Refused []ledger.RefusedCall
}

// Collector collects the metrics of runs. It is a prometheus.Collector.
type Collector struct {
	// Runs gives all runs that are to be shown.
	Runs func() ([]Run, error)
}

// Describe implements prometheus.Collector: what there is depends on the runs.
func (*Collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector. Where the runs cannot be read, the
// scrape fails.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	runs, err := c.Runs()
	if err != nil {
		out <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(err), err)
		return
	}
	for _, r := range runs {
		e := emitter{out: out, run: r.State.Created.Run}
		e.study(r)
		e.tally(r.State.Tally)
		e.models(r)
	}
}

// emitter gives out the metrics of one run.
type emitter struct {
	out chan<- prometheus.Metric
	run string
}

func (e emitter) emit(kind prometheus.ValueType, name, help string, value float64, labels ...string) {
	names, values := pairs(append([]string{"run", e.run}, labels...))
	e.out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), kind, value, values...)
}

func (e emitter) gauge(name, help string, value float64, labels ...string) {
	e.emit(prometheus.GaugeValue, name, help, value, labels...)
}

func (e emitter) count(name, help string, value float64, labels ...string) {
	e.emit(prometheus.CounterValue, name, help, value, labels...)
}

func pairs(labels []string) (names, values []string) {
	for i := 0; i < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	return names, values
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (e emitter) study(r Run) {
	s := r.State
	e.gauge("ratchet_run_info", "A run, with its study, its status and its stage; always 1.", 1, "study", s.Created.Study.Name, "status", string(s.Status), "stage", s.Stage)
	e.gauge("ratchet_run_driven", "Whether an engine drives the run now.", truth(r.Driven))
	e.gauge("ratchet_run_began_timestamp_seconds", "When the run began, in seconds since 1970.", float64(s.Began.UnixMicro())/1e6)
	e.gauge("ratchet_run_last_event_timestamp_seconds", "When its newest event was, in seconds since 1970.", float64(s.Time.UnixMicro())/1e6)
	e.gauge("ratchet_run_experiments_done", "Experiments that are complete, in their order without a gap.", float64(s.Frontier))
	if s.Plan != nil {
		e.gauge("ratchet_run_experiments_planned", "Experiments that the plan has at most.", float64(s.Plan.Experiments))
	}
	if best := s.Best(); best != nil && best.Value != nil {
		e.gauge("ratchet_run_best", "The best mean of the objective so far.", *best.Value, "metric", s.Created.Study.Objective.Metric)
	}
	e.gauge("ratchet_run_attempts_in_flight", "Attempts that were decided and have not ended.", float64(len(s.Pending)))
	if r.Health != nil {
		e.gauge("ratchet_run_health_score", "The run's health, from 0 to 100.", float64(r.Health.Score), "state", r.Health.State)
	}
	firing := map[string]int{}
	for _, a := range s.Alerts {
		firing[a.Severity]++
	}
	for severity, n := range firing {
		e.gauge("ratchet_run_alerts", "Alerts that are raised now.", float64(n), "severity", severity)
	}
	ended := map[research.Class]int{}
	for _, x := range s.Experiments {
		for _, t := range x.Trials {
			for _, a := range t.Attempts {
				ended[a.Class]++
			}
		}
	}
	for class, n := range ended {
		e.count("ratchet_attempts_total", "Attempts that have ended, by outcome.", float64(n), "outcome", string(class))
	}
}

func (e emitter) tally(t research.Tally) {
	e.count("ratchet_attempts_wall_seconds_total", "Wall time of all attempts.", t.Wall)
	e.count("ratchet_attempts_cpu_seconds_total", "Processor time of all attempts.", t.CPU)
	e.gauge("ratchet_attempts_memory_max_bytes", "The most memory that any attempt used.", float64(t.Memory))
}

// The bounds of the histograms, as OpenTelemetry's semantic conventions for
// generative AI advise (gen_ai.client.token.usage: powers of four;
// gen_ai.client.operation.duration: powers of two, in seconds).
var (
	tokenBounds = prometheus.ExponentialBuckets(1, 4, 14)
	timeBounds  = prometheus.ExponentialBuckets(0.01, 2, 14)
)

// histogram counts values into buckets.
type histogram struct {
	bounds  []float64
	count   uint64
	sum     float64
	buckets map[float64]uint64 // cumulative
}

func (h *histogram) observe(v float64) {
	h.count++
	h.sum += v
	for _, b := range h.bounds {
		if v <= b {
			h.buckets[b]++
		}
	}
}

// series are histograms by their labels.
type series struct {
	bounds []float64
	of     map[[4]string]*histogram
}

func (s *series) observe(v float64, labels [4]string) {
	h := s.of[labels]
	if h == nil {
		h = &histogram{bounds: s.bounds, buckets: map[float64]uint64{}}
		for _, b := range s.bounds {
			h.buckets[b] = 0
		}
		s.of[labels] = h
	}
	h.observe(v)
}

func (e emitter) histograms(s *series, name, help string, labels ...string) {
	d := prometheus.NewDesc(name, help, append([]string{"run"}, labels...), nil)
	for values, h := range s.of {
		e.out <- prometheus.MustNewConstHistogram(d, h.count, h.sum, h.buckets, append([]string{e.run}, values[:]...)...)
	}
}

// models gives out the model calls, by the names of OpenTelemetry's semantic
// conventions for generative AI where these have one.
func (e emitter) models(r Run) {
	if r.State.Created.Study.Models == nil {
		return
	}
	tokens := &series{tokenBounds, map[[4]string]*histogram{}}
	took := &series{timeBounds, map[[4]string]*histogram{}}
	type model struct{ provider, name string }
	spent, retries, again, lost := map[model]int64{}, map[model]int{}, map[model]int{}, map[model]int{}
	for _, c := range r.Calls {
		of := model{"", c.Model}
		wrong := ""
		switch {
		case c.Answered != nil:
			a := c.Answered
			of = model{a.Provider, a.Model}
			tokens.observe(float64(a.Tokens.In), [4]string{c.Operation(), of.provider, of.name, "input"})
			tokens.observe(float64(a.Tokens.Out), [4]string{c.Operation(), of.provider, of.name, "output"})
			took.observe(a.Took, [4]string{c.Operation(), of.provider, of.name, wrong})
			retries[of] += len(a.Retries)
		case c.Failed != nil:
			wrong = string(c.Failed.Class)
			took.observe(c.Failed.Took, [4]string{c.Operation(), of.provider, of.name, wrong})
			retries[of] += len(c.Failed.Retries)
		}
		spent[of] += c.Spent().NanoUSD
		again[of] += c.Again
		lost[of] += c.Lost
	}
	names := []string{"gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"}
	e.histograms(tokens, "gen_ai_client_token_usage", "Tokens of model calls, in each direction.", append(names, "gen_ai_token_type")...)
	e.histograms(took, "gen_ai_client_operation_duration_seconds", "How long model calls took, retries included.", append(names, "error_type")...)
	for of := range spent {
		labels := []string{"gen_ai_provider_name", of.provider, "gen_ai_request_model", of.name}
		e.count("ratchet_model_spent_usd_total", "What model calls cost, or may have.", float64(spent[of])/1e9, labels...)
		e.count("ratchet_model_retries_total", "Requests to providers that were made again within a call.", float64(retries[of]), labels...)
		e.count("ratchet_model_replayed_total", "Answers that came out of the record.", float64(again[of]), labels...)
		e.count("ratchet_model_lost_total", "Calls that were under way at a crash.", float64(lost[of]), labels...)
	}
	refused := map[research.Class]int{}
	for _, c := range r.Refused {
		refused[c.Class]++
	}
	for class, n := range refused {
		e.count("ratchet_model_refused_total", "Calls that were not let through, by why.", float64(n), "error_type", string(class))
	}
	if limit := r.State.SpendLimit().Cost; limit > 0 {
		e.gauge("ratchet_run_budget_usd", "What the run may spend on model calls.", float64(limit)/1e6)
	}
}
