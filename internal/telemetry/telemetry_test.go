package telemetry

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"ratchet/internal/gateway/ledger"
	"ratchet/internal/monitor"
	"ratchet/internal/research"
	"ratchet/study"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func runs() []Run {
	value := 0.75
	warning := research.Alert{AlertRaised: research.AlertRaised{Severity: "warning"}}
	s := &research.State{
		Created: research.RunCreated{Run: "agent-1", Study: &study.Study{Name: "agent", Objective: study.Objective{Metric: "y", Goal: study.Maximize}, Models: &study.Models{}}},
		Status:  research.Running, Stage: "experimenting", Began: time.Unix(100, 0), Time: time.Unix(200, 500_000_000), Frontier: 1,
		Plan: &research.Plan{Experiments: 4}, Alerts: []research.Alert{warning, warning},
		Experiments: []*research.Experiment{{Value: &value, Means: map[string]float64{"y": value}, Trials: []*research.Trial{
			{Attempts: []research.Attempt{{Class: research.Timeout}, {Class: research.Succeeded}}}, {Attempts: []research.Attempt{{Class: research.Succeeded}}},
		}}},
		Tally: research.Tally{Wall: 12.5, CPU: 30, Memory: 1 << 20},
	}
	sent := ledger.Sent{Path: "/v1/chat/completions", Model: "fast"}
	answered := func(in, out int64, took float64) *ledger.Answered {
		return &ledger.Answered{
			Provider: "openai", Model: "gpt-4o-mini", Tokens: ledger.Tokens{In: in, Out: out}, Spent: ledger.Spending{NanoUSD: 2_000_000}, Took: took,
			Retries: []ledger.Retry{{}},
		}
	}
	calls := []ledger.Call{
		{Sent: sent, Answered: answered(10, 5, 0.5), Again: 2},
		{Sent: sent, Answered: answered(5000, 64, 100), Lost: 1},
		{Sent: sent, Failed: &ledger.Failed{Class: research.RateLimited, Took: 3}},
	}
	return []Run{{State: s, Driven: true, Health: &monitor.Health{Score: 90, State: monitor.Healthy}, Calls: calls, Refused: []ledger.RefusedCall{{Refused: ledger.Refused{Class: research.Security}}}}}
}

func TestMetrics(t *testing.T) {
	c := &Collector{Runs: func() ([]Run, error) { return runs(), nil }}
	if found, err := testutil.CollectAndLint(c); err != nil || len(found) > 0 {
		t.Errorf("the linter of Prometheus says %v (%v)", found, err)
	}
	want := `
# HELP gen_ai_client_operation_duration_seconds How long model calls took, retries included.
# TYPE gen_ai_client_operation_duration_seconds histogram
`
	for _, h := range []struct {
		labels string
		values string // counts by bucket, then the sum
		sum    string
	}{
		{`error_type="",gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="gpt-4o-mini",run="agent-1"`, "0 0 0 0 0 0 1 1 1 1 1 1 1 1 2", "100.5"},
		{`error_type="rate_limited",gen_ai_operation_name="chat",gen_ai_provider_name="",gen_ai_request_model="fast",run="agent-1"`, "0 0 0 0 0 0 0 0 0 1 1 1 1 1 1", "3"},
	} {
		bounds := strings.Fields("0.01 0.02 0.04 0.08 0.16 0.32 0.64 1.28 2.56 5.12 10.24 20.48 40.96 81.92 +Inf")
		counts := strings.Fields(h.values)
		for i, b := range bounds {
			want += "gen_ai_client_operation_duration_seconds_bucket{" + h.labels + `,le="` + b + `"} ` + counts[i] + "\n"
		}
		want += "gen_ai_client_operation_duration_seconds_sum{" + h.labels + "} " + h.sum + "\n"
		want += "gen_ai_client_operation_duration_seconds_count{" + h.labels + "} " + counts[len(counts)-1] + "\n"
	}
	want += `
# HELP ratchet_attempts_total Attempts that have ended, by outcome.
# TYPE ratchet_attempts_total counter
ratchet_attempts_total{outcome="succeeded",run="agent-1"} 2
ratchet_attempts_total{outcome="timeout",run="agent-1"} 1
# HELP ratchet_model_lost_total Calls that were under way at a crash.
# TYPE ratchet_model_lost_total counter
ratchet_model_lost_total{gen_ai_provider_name="",gen_ai_request_model="fast",run="agent-1"} 0
ratchet_model_lost_total{gen_ai_provider_name="openai",gen_ai_request_model="gpt-4o-mini",run="agent-1"} 1
# HELP ratchet_model_refused_total Calls that were not let through, by why.
# TYPE ratchet_model_refused_total counter
ratchet_model_refused_total{error_type="security",run="agent-1"} 1
# HELP ratchet_model_replayed_total Answers that came out of the record.
# TYPE ratchet_model_replayed_total counter
ratchet_model_replayed_total{gen_ai_provider_name="",gen_ai_request_model="fast",run="agent-1"} 0
ratchet_model_replayed_total{gen_ai_provider_name="openai",gen_ai_request_model="gpt-4o-mini",run="agent-1"} 2
# HELP ratchet_model_spent_usd_total What model calls cost, or may have.
# TYPE ratchet_model_spent_usd_total counter
ratchet_model_spent_usd_total{gen_ai_provider_name="",gen_ai_request_model="fast",run="agent-1"} 0
ratchet_model_spent_usd_total{gen_ai_provider_name="openai",gen_ai_request_model="gpt-4o-mini",run="agent-1"} 0.006
# HELP ratchet_run_alerts Alerts that are raised now.
# TYPE ratchet_run_alerts gauge
ratchet_run_alerts{run="agent-1",severity="warning"} 2
# HELP ratchet_run_best The best mean of the objective so far.
# TYPE ratchet_run_best gauge
ratchet_run_best{metric="y",run="agent-1"} 0.75
# HELP ratchet_run_health_score The run's health, from 0 to 100.
# TYPE ratchet_run_health_score gauge
ratchet_run_health_score{run="agent-1",state="healthy"} 90
# HELP ratchet_run_info A run, with its study, its status and its stage; always 1.
# TYPE ratchet_run_info gauge
ratchet_run_info{run="agent-1",stage="experimenting",status="running",study="agent"} 1
`
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), "gen_ai_client_operation_duration_seconds", "ratchet_attempts_total",
		"ratchet_model_lost_total", "ratchet_model_refused_total", "ratchet_model_replayed_total", "ratchet_model_spent_usd_total",
		"ratchet_run_alerts", "ratchet_run_best", "ratchet_run_health_score", "ratchet_run_info"); err != nil {
		t.Error(err)
	}
}

// TestRunsThatCannotBeRead: the scrape fails and says so, instead of showing
// less than there is.
func TestRunsThatCannotBeRead(t *testing.T) {
	r := prometheus.NewRegistry()
	r.MustRegister(&Collector{Runs: func() ([]Run, error) { return runs(), errors.New("the journal is damaged") }})
	if found, err := r.Gather(); err == nil || !strings.Contains(err.Error(), "the journal is damaged") || len(found) > 0 {
		t.Errorf("%d families, %v", len(found), err)
	}
}
