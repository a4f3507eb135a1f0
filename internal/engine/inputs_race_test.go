package engine

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"ratchet/study"
)

// TestInputsAreLookedAtByMany: attempts begin while others end, and look at the
// same inputs.
func TestInputsAreLookedAtByMany(t *testing.T) {
	n := &inputs{dir: t.TempDir(), list: []study.Input{{Path: "x", Source: "x"}}}
	path := filepath.Join(n.dir, "x")
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := describeInput(n.list[0], n.dir, true)
	if err != nil {
		t.Fatal(err)
	}
	n.records = []inputRecord{r}
	var all sync.WaitGroup
	all.Go(func() {
		for i := range 50 {
			if err := os.Chtimes(path, time.Now(), time.Unix(int64(i), 0)); err != nil {
				t.Error(err)
			}
			if what := n.changed(); what != "" {
				t.Error(what)
			}
		}
	})
	for range 2000 {
		if len(n.hidden(0)) > 0 {
			t.Error("something is hidden")
		}
	}
	all.Wait()
}
