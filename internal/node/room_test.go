package node

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ratchet/internal/home"
	"ratchet/internal/monitor"
)

func opened(t *testing.T, folder string) *home.Home {
	t.Helper()
	h, err := home.Open(folder, home.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func amount(n int64) *int64 { return &n }

// TestRefusals: each limit keeps an attempt waiting, with the figures, and one
// that is alone never waits.
func TestRefusals(t *testing.T) {
	c := capacity{limits: monitor.Limits{CPU: 1, Memory: 0.5}, memory: monitor.Memory{Total: 1000, Available: 900}, cpus: 2, free: 1 << 40, disk: 1 << 20}
	other := Claim{Memory: 300, CPUs: 1}
	for _, x := range []struct {
		want   Claim
		others []Claim
		says   string
	}{
		{Claim{Memory: 5000, CPUs: 9}, nil, ""},
		{Claim{Memory: 200, CPUs: 1}, []Claim{other}, ""},
		{Claim{Memory: 201, CPUs: 1}, []Claim{other}, "memory: 300B are reserved, it may need 201B, and 500B may be used together"},
		{Claim{Memory: 1, CPUs: 1.5}, []Claim{other}, "processors: 1 are reserved, it may use 1.5, and 2 may be used together"},
	} {
		if why := c.refuses(x.want, x.others); why != x.says {
			t.Errorf("%+v beside %v: %q, want %q", x.want, x.others, why, x.says)
		}
	}
	if c.memory.Available = 100; !strings.Contains(c.refuses(Claim{Memory: 150}, []Claim{other}), "100B are available") {
		t.Error("memory that others took is not seen")
	}
	if c.free = 1 << 10; c.refuses(Claim{}, nil) == "" {
		t.Error("a full disk is not seen")
	}
}

// TestDevices: whole devices are not shared, fractions share one, and the
// memory of a device is not given twice.
func TestDevices(t *testing.T) {
	c := capacity{limits: monitor.Limits{GPUMemory: 1}}
	for i := range 3 {
		c.gpus = append(c.gpus, monitor.GPU{Index: i, MemoryTotal: amount(100), MemoryUsed: amount(int64(30 - 10*i))})
	}
	for _, x := range []struct {
		gpus   float64
		memory int64
		others []Claim
		want   []int
	}{
		{1, 0, nil, []int{2}}, // the one that is used least
		{2, 0, nil, []int{1, 2}},
		{1, 0, []Claim{{GPUs: []int{2}, Share: 1}}, []int{1}},
		{3, 0, []Claim{{GPUs: []int{2}, Share: 1}}, nil},
		{0.5, 0, []Claim{{GPUs: []int{0}, Share: 0.5}}, []int{0}}, // fills up a shared one
		{0.5, 0, []Claim{{GPUs: []int{0}, Share: 0.6}}, []int{2}},
		{1, 0, []Claim{{GPUs: []int{0}, Share: 0.1}, {GPUs: []int{1}, Share: 0.1}, {GPUs: []int{2}, Share: 0.1}}, nil},
		{0.5, 80, nil, []int{2}},
		{0.5, 85, nil, []int{2}},
		{0.5, 60, []Claim{{GPUs: []int{2}, Share: 0.5, GPUMemory: 50}}, []int{1}},
	} {
		got, _, why := c.devices(Claim{GPUMemory: x.memory}, x.gpus, x.others)
		if !slices.Equal(got, x.want) || (got == nil) == (why == "") && x.want != nil {
			t.Errorf("%v GPUs with %d beside %v: %v %q, want %v", x.gpus, x.memory, x.others, got, why, x.want)
		}
	}
}

// TestRoomIsShared: two engines on one home, as two processes are, never give
// a device to two attempts, and every attempt gets its turn.
func TestRoomIsShared(t *testing.T) {
	folder := t.TempDir()
	var wait sync.WaitGroup
	var mu sync.Mutex
	taken := map[int]string{}
	for engine := range 2 {
		h := opened(t, folder)
		r := newRoom(h, "")
		run := fmt.Sprintf("run-%d", engine)
		unlock, err := h.LockRun(run)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(unlock)
		for n := range 8 {
			wait.Go(func() {
				id := fmt.Sprintf("%s-%d", run, n)
				got, err := r.enter(context.Background(), Claim{Run: run, Attempt: id}, 1, 0, func() capacity {
					return capacity{gpus: []monitor.GPU{{Index: 0}, {Index: 1}, {Index: 5}}}
				}, func() bool { return false })
				if err != nil || len(got.GPUs) != 1 {
					t.Errorf("%+v: %v", got, err)
					return
				}
				mu.Lock()
				if other := taken[got.GPUs[0]]; other != "" {
					t.Errorf("%s and %s have device %d", other, id, got.GPUs[0])
				}
				taken[got.GPUs[0]] = id
				mu.Unlock()
				<-time.After(5 * time.Millisecond)
				mu.Lock()
				taken[got.GPUs[0]] = ""
				mu.Unlock()
				r.leave(got)
			})
		}
	}
	wait.Wait()
}

// TestClaimsOfTheDead: what an engine that is gone has left counts for
// nothing.
func TestClaimsOfTheDead(t *testing.T) {
	h := opened(t, t.TempDir())
	if err := newRoom(h, "").attach(Claim{Run: "gone", Attempt: "a", GPUs: []int{0}, Share: 1}); err != nil {
		t.Fatal(err)
	}
	other := newRoom(h, "")
	got, err := other.enter(t.Context(), Claim{Run: "new", Attempt: "b"}, 1, 0, func() capacity { return capacity{gpus: []monitor.GPU{{Index: 0}}} }, func() bool { return false })
	if err != nil || !slices.Equal(got.GPUs, []int{0}) {
		t.Errorf("%+v (%v)", got, err)
	}
	other.leave(got)
}

// TestClaimsOfOtherHomes: an attempt of another home keeps its processors while its run is
// driven, and no longer; one whose home is gone keeps none.
func TestClaimsOfOtherHomes(t *testing.T) {
	dir := t.TempDir()
	here, there := newRoom(opened(t, t.TempDir()), dir), opened(t, t.TempDir())
	unlock, err := there.LockRun("run")
	if err != nil {
		t.Fatal(err)
	}
	if err := newRoom(there, dir).attach(Claim{Run: "run", Attempt: "a", Processors: []int{0}}); err != nil {
		t.Fatal(err)
	}
	chosen := func(id string) []int {
		t.Helper()
		got, err := here.enter(t.Context(), Claim{Run: "new", Attempt: id, CPUs: 1}, 0, 0, func() capacity { return capacity{own: []int{0, 1, 2}} }, func() bool { return false })
		if err != nil {
			t.Fatal(err)
		}
		here.leave(got)
		return got.Processors
	}
	if got := chosen("b"); !slices.Equal(got, []int{1}) {
		t.Errorf("beside a run that is driven: %v", got)
	}
	unlock()
	if got := chosen("c"); !slices.Equal(got, []int{0}) {
		t.Errorf("beside a run that nothing drives: %v", got)
	}
	if err := os.RemoveAll(there.Folder); err != nil {
		t.Fatal(err)
	}
	if got := chosen("d"); !slices.Equal(got, []int{0}) {
		t.Errorf("beside a home that is gone: %v", got)
	}
}

// TestPressure: under pressure fewer attempts run, step by step, and more
// again when it is over.
func TestPressure(t *testing.T) {
	r := newRoom(opened(t, t.TempDir()), "")
	r.inside = 4
	bad, calm := &monitor.Pressure{Memory: 0.5}, &monitor.Pressure{}
	for _, want := range []int{3, 2, 1, 1} {
		if r.press(bad, 4, 0); r.most != want {
			t.Errorf("%d may run, want %d", r.most, want)
		}
	}
	if _, why, err := r.try(&waiter{}, Claim{}, 0, capacity{}); err != nil || !strings.Contains(why, "under pressure: 1") {
		t.Errorf("%q %v", why, err)
	}
	for _, want := range []int{2, 3, 0, 0} {
		if r.press(calm, 4, 0); r.most != want {
			t.Errorf("%d may run, want %d", r.most, want)
		}
	}
}

// TestProcessors: whole ones, of those that no other claim has, or none at all.
func TestProcessors(t *testing.T) {
	c := capacity{own: []int{0, 2, 3, 5}}
	for _, x := range []struct {
		cpus   float64
		others []Claim
		want   []int
	}{
		{1, nil, []int{0}}, {2, []Claim{{Processors: []int{0, 3}}}, []int{2, 5}}, {2, []Claim{{Processors: []int{0}}, {Processors: []int{2, 3}}}, nil},
		{0.5, nil, nil}, {1.5, nil, nil}, {4, nil, nil}, {3, nil, []int{0, 2, 3}},
	} {
		if got := c.processors(Claim{CPUs: x.cpus}, x.others); !slices.Equal(got, x.want) {
			t.Errorf("%v beside %v gets %v, want %v", x.cpus, x.others, got, x.want)
		}
	}
	if got := (capacity{}).processors(Claim{CPUs: 1}, nil); got != nil {
		t.Errorf("where they are not known it gets %v", got)
	}
}
