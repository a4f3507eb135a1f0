// Package breaker stands before what is outside: it bounds how long an answer is
// waited for, and leaves alone what has failed several times.
package breaker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/timeout"

	"ratchet/internal/failure"
	"ratchet/internal/research"
)

// Policy says when a breaker opens and how it closes again.
type Policy struct {
	Failures int           // in a row, until it opens
	OpenFor  time.Duration // until a probe is let through
	Probes   int           // that must succeed, until it closes
}

// DefaultPolicy is the policy where the settings have none.
var DefaultPolicy = Policy{Failures: 5, OpenFor: 30 * time.Second, Probes: 1}

// Dependencies are what this process asks of others: places with backups,
// targets of notifications, executors, drivers of devices. Before each stands a
// breaker, so that one that is gone costs no more than a look now and then. It
// is safe for concurrent use.
type Dependencies struct {
	policy Policy
	mu     sync.Mutex
	all    map[string]*Dependency
}

// NewDependencies returns none yet.
func NewDependencies(p Policy) *Dependencies {
	return &Dependencies{policy: p, all: map[string]*Dependency{}}
}

// Of gives the dependency of a name, and makes it if need be.
func (ds *Dependencies) Of(name string) *Dependency {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d := ds.all[name]
	if d == nil {
		p := ds.policy
		d = &Dependency{name: name, breaker: circuitbreaker.NewBuilder[any]().
			WithFailureThreshold(uint(max(1, p.Failures))).WithDelay(p.OpenFor).WithSuccessThreshold(uint(max(1, p.Probes))).Build()}
		ds.all[name] = d
	}
	return d
}

// Dependency is one of them.
type Dependency struct {
	name    string
	breaker circuitbreaker.CircuitBreaker[any]

	mu       sync.Mutex
	failures int // since the last success
	since    time.Time
	last     error
}

// OpenError says that a dependency was not asked, since it failed too often.
type OpenError struct {
	Name string
	For  time.Duration // until it is asked again
	Last error
}

func (o *OpenError) Error() string {
	return fmt.Sprintf("%s is not asked for another %s, since it failed: %v", o.Name, o.For.Round(time.Second), o.Last)
}

func (o *OpenError) Unwrap() error { return o.Last }

// Do asks the dependency: calls f, and gives it up after most (0: never). f
// must end when its context does. An open breaker is an OpenError, and f is
// not called.
func (d *Dependency) Do(ctx context.Context, most time.Duration, f func(ctx context.Context) error) error {
	policies := []failsafe.Policy[any]{d.breaker}
	if most > 0 {
		policies = append(policies, timeout.New[any](most))
	}
	var said error
	err := failsafe.With(policies...).WithContext(ctx).RunWithExecution(func(x failsafe.Execution[any]) error {
		said = f(x.Context())
		if ctx.Err() != nil {
			return nil // it was broken off by us: that is no fault of the other side
		}
		return said
	})
	switch {
	case errors.Is(err, circuitbreaker.ErrOpen):
		d.mu.Lock()
		defer d.mu.Unlock()
		return &OpenError{d.name, d.breaker.RemainingDelay(), d.last}
	case errors.Is(err, timeout.ErrExceeded):
		err = fmt.Errorf("%s did not answer within %s: %w", d.name, most, context.DeadlineExceeded)
	case ctx.Err() != nil:
		return errors.Join(ctx.Err(), said)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		d.failures, d.last, d.since = 0, nil, time.Time{}
		return nil
	}
	if d.failures++; d.failures == 1 {
		d.since = time.Now()
	}
	d.last = err
	return err
}

// DependencyState is where a dependency stands.
type DependencyState struct {
	Name     string         `json:"name"`
	Breaker  string         `json:"breaker"` // closed, open or half-open
	Failures int            `json:"failures,omitempty"`
	Since    time.Time      `json:"since,omitzero"` // of the first of these failures
	Class    research.Class `json:"class,omitempty"`
	Why      string         `json:"why,omitempty"`
}

// States are all dependencies that were asked, by name.
func (ds *Dependencies) States() []DependencyState {
	ds.mu.Lock()
	all := make([]*Dependency, 0, len(ds.all))
	for _, d := range ds.all {
		all = append(all, d)
	}
	ds.mu.Unlock()
	out := []DependencyState{}
	for _, d := range all {
		d.mu.Lock()
		s := DependencyState{Name: d.name, Breaker: d.breaker.State().String(), Failures: d.failures, Since: d.since}
		if d.last != nil {
			s.Class, s.Why = failure.ClassOf(d.last), research.Printable(d.last.Error(), failure.MostWords)
		}
		d.mu.Unlock()
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b DependencyState) int { return strings.Compare(a.Name, b.Name) })
	return out
}
