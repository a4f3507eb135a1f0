package breaker_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ratchet/internal/breaker"
	"ratchet/internal/research"
)

// TestBreaker: a dependency that fails is left alone after a few times, is
// asked again later, and comes back.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := breaker.NewDependencies(breaker.Policy{Failures: 3, OpenFor: 30 * time.Second, Probes: 2})
		d := all.Of("store")
		calls := 0
		ask := func(err error) error {
			return d.Do(t.Context(), 0, func(context.Context) error { calls++; return err })
		}
		for range 3 {
			if err := ask(syscall.ECONNREFUSED); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Fatal(err)
			}
		}
		var open *breaker.OpenError
		if err := ask(nil); !errors.As(err, &open) || calls != 3 || open.For != 30*time.Second || !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("it was called %d times: %v", calls, err)
		}
		if s := all.States(); len(s) != 1 || s[0].Breaker != "open" || s[0].Failures != 3 || s[0].Class != research.Transient || s[0].Why == "" {
			t.Errorf("%+v", s)
		}
		time.Sleep(31 * time.Second)
		if err := ask(syscall.EIO); !errors.Is(err, syscall.EIO) {
			t.Fatalf("the probe: %v", err)
		}
		if err := ask(nil); !errors.As(err, &open) {
			t.Fatalf("behind a failed probe: %v", err)
		}
		time.Sleep(31 * time.Second)
		for range 2 {
			if err := ask(nil); err != nil {
				t.Fatal(err)
			}
		}
		if s := all.States(); s[0].Breaker != "closed" || s[0].Failures != 0 || s[0].Why != "" {
			t.Errorf("%+v", s)
		}
		if all.Of("store") != d {
			t.Error("it is another one")
		}
	})
}

// TestHanging: what does not answer is given up, and what we broke off
// ourselves is no failure.
func TestHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := breaker.NewDependencies(breaker.DefaultPolicy)
		hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		if err := all.Of("slow").Do(t.Context(), time.Second, hang); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { time.Sleep(time.Millisecond); cancel() }()
		if err := all.Of("ours").Do(ctx, 0, hang); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		for _, s := range all.States() {
			if (s.Failures > 0) != (s.Name == "slow") {
				t.Errorf("%+v", s)
			}
		}
	})
}
