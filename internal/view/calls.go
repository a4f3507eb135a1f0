package view

import (
	"time"

	"ratchet/internal/gateway/ledger"
)

// Call is a model call. The names of gen_ai are those of OpenTelemetry's semantic
// conventions for generative AI.
type Call struct {
	Call       string         `json:"call"`
	Time       time.Time      `json:"time"`
	Attempt    string         `json:"attempt"`
	Trial      string         `json:"trial"`
	Stage      string         `json:"stage"`
	Path       string         `json:"path"`
	Status     string         `json:"status"`
	HTTPStatus int            `json:"http_status,omitempty"`
	Digest     string         `json:"digest"`
	Nth        int            `json:"nth"`
	Stream     bool           `json:"stream"`
	USD        float64        `json:"usd"`
	Estimated  bool           `json:"estimated,omitempty"`
	Seconds    float64        `json:"seconds"`
	First      float64        `json:"first_byte_s"`
	Lost       int            `json:"lost,omitempty"`
	Replayed   int            `json:"replayed"`
	Retries    []ledger.Retry `json:"retries"`
	Why        string         `json:"why,omitempty"`
	Attributes map[string]any `json:"attributes"`
	Model      string         `json:"-"` // with its provider, once that is known
	In, Out    int64          `json:"-"` // tokens of the answer, where there is one
}

// Calls are the model calls of a run: `ratchet calls --json`.
type Calls struct {
	Calls   []Call               `json:"calls"`
	Refused []ledger.RefusedCall `json:"refused"`
	Summary ledger.Summary       `json:"summary"`
}

// callOf is a call as a document.
func callOf(c ledger.Call) Call {
	d := Call{
		Call: c.Call, Time: c.Time, Attempt: c.Attempt, Trial: c.Scope, Stage: c.Stage, Path: c.Path, Digest: c.Digest, Nth: c.Nth, Stream: c.Stream,
		USD: c.Spent().USD(), Lost: c.Lost, Replayed: c.Again, Retries: []ledger.Retry{}, Status: "in flight",
		Attributes: map[string]any{"gen_ai.request.model": c.Model, "gen_ai.operation.name": c.Operation()},
	}
	d.Model = c.Model
	switch {
	case c.Answered != nil:
		a := c.Answered
		d.Model, d.In, d.Out = a.Provider+"/"+a.Model, a.Tokens.In, a.Tokens.Out
		d.Status, d.HTTPStatus, d.Seconds, d.First, d.Estimated = "answered", a.Status, a.Took, a.First, a.Estimated
		d.Retries = append(d.Retries, a.Retries...)
		d.Attributes["gen_ai.provider.name"], d.Attributes["gen_ai.response.model"] = a.Provider, a.Model
		d.Attributes["gen_ai.usage.input_tokens"], d.Attributes["gen_ai.usage.output_tokens"] = a.Tokens.In, a.Tokens.Out
	case c.Failed != nil:
		d.Status, d.HTTPStatus, d.Seconds, d.Why = string(c.Failed.Class), c.Failed.Status, c.Failed.Took, c.Failed.Why
		d.Retries = append(d.Retries, c.Failed.Retries...)
		d.Attributes["error.type"] = string(c.Failed.Class)
	}
	return d
}

// CallsOf are all calls of a ledger.
func CallsOf(l *ledger.Ledger) Calls {
	d := Calls{Calls: []Call{}, Refused: append([]ledger.RefusedCall{}, l.Refused()...), Summary: l.Summary()}
	for _, c := range l.Calls() {
		d.Calls = append(d.Calls, callOf(c))
	}
	return d
}
