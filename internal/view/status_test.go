package view_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"ratchet/internal/engine"
	"ratchet/internal/engine/enginetest"
	"ratchet/internal/research"
	"ratchet/internal/shim"
	"ratchet/internal/view"
)

func TestMain(m *testing.M) {
	shim.Main()
	goleak.VerifyTestMain(m)
}

// TestList: what is kept of a run's line is what folding gives, until the run has
// another record, and whatever becomes of the file.
func TestList(t *testing.T) {
	ctx := context.Background()
	l := enginetest.New(t, enginetest.SmallStudy, enginetest.SmallProgram)
	e := l.Open(engine.Options{})
	run := l.Create(e)
	list := func() view.Status {
		t.Helper()
		all, err := view.List(ctx, e.Engine)
		if err != nil || len(all) != 1 || all[0].Status == view.Damaged {
			t.Fatalf("%+v (%v)", all, err)
		}
		fresh, err := view.StatusAt(ctx, e.Engine, run, 0)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(fresh, all[0]); diff != "" {
			t.Error(diff)
		}
		return all[0]
	}
	if s := list(); s.Word() != "interrupted" || s.Seq != 1 {
		t.Errorf("before it was driven it is %+v", s)
	}
	kept := filepath.Join(l.Home(), "runs", run, "status")
	first, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Request(ctx, run, research.PauseRequested{By: "me"}); err != nil {
		t.Fatal(err)
	}
	if s := list(); s.Seq != 2 {
		t.Errorf("with another record it stands at %d", s.Seq)
	}
	l.Drive(e, run)
	l.Drive(e, run)
	if s := list(); s.Word() != "completed" || s.Trials != enginetest.SmallTrials || s.Best == nil || s.Output != filepath.Join(l.Dir, "out") {
		t.Errorf("at its end it is %+v", s)
	}
	whole, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"an earlier one": first, "damaged": enginetest.Flipped(whole, len(whole)/2), "cut": whole[:len(whole)/2], "empty": nil} {
		if err := os.WriteFile(kept, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if s := list(); s.Status != "completed" {
			t.Errorf("where what is kept is %s: %+v", name, s)
		}
	}
}
