package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ratchet/internal/monitor"
)

func amount(n int64) *int64 { return &n }

// TestRefusals: each limit keeps an attempt waiting, with the figures, and one
// that is alone never waits.
func TestRefusals(t *testing.T) {
	c := capacity{limits: monitor.Limits{CPU: 1, Memory: 0.5}, memory: monitor.Memory{Total: 1000, Available: 900}, cpus: 2, free: 1 << 40, disk: 1 << 20}
	other := claim{Memory: 300, CPUs: 1}
	for _, x := range []struct {
		want   claim
		others []claim
		says   string
	}{
		{claim{Memory: 5000, CPUs: 9}, nil, ""},
		{claim{Memory: 200, CPUs: 1}, []claim{other}, ""},
		{claim{Memory: 201, CPUs: 1}, []claim{other}, "memory: 300B are reserved, it may need 201B, and 500B may be used together"},
		{claim{Memory: 1, CPUs: 1.5}, []claim{other}, "processors: 1 are reserved, it may use 1.5, and 2 may be used together"},
	} {
		if why := c.refuses(x.want, x.others); why != x.says {
			t.Errorf("%+v beside %v: %q, want %q", x.want, x.others, why, x.says)
		}
	}
	if c.memory.Available = 100; !strings.Contains(c.refuses(claim{Memory: 150}, []claim{other}), "100B are available") {
		t.Error("memory that others took is not seen")
	}
	if c.free = 1 << 10; c.refuses(claim{}, nil) == "" {
		t.Error("a full disk is not seen")
	}
}

// TestDevices: whole devices are nobody else's, fractions share one, and the
// memory of a device is not given twice.
func TestDevices(t *testing.T) {
	c := capacity{limits: monitor.Limits{GPUMemory: 1}}
	for i := range 3 {
		c.gpus = append(c.gpus, monitor.GPU{Index: i, MemoryTotal: amount(100), MemoryUsed: amount(int64(30 - 10*i))})
	}
	for _, x := range []struct {
		gpus   float64
		memory int64
		others []claim
		want   []int
	}{
		{1, 0, nil, []int{2}}, // the one that is used least
		{2, 0, nil, []int{1, 2}},
		{1, 0, []claim{{GPUs: []int{2}, Share: 1}}, []int{1}},
		{3, 0, []claim{{GPUs: []int{2}, Share: 1}}, nil},
		{0.5, 0, []claim{{GPUs: []int{0}, Share: 0.5}}, []int{0}}, // fills up a shared one
		{0.5, 0, []claim{{GPUs: []int{0}, Share: 0.6}}, []int{2}},
		{1, 0, []claim{{GPUs: []int{0}, Share: 0.1}, {GPUs: []int{1}, Share: 0.1}, {GPUs: []int{2}, Share: 0.1}}, nil},
		{0.5, 80, nil, []int{2}},
		{0.5, 85, nil, []int{2}},
		{0.5, 60, []claim{{GPUs: []int{2}, Share: 0.5, GPUMemory: 50}}, []int{1}},
	} {
		got, _, why := c.devices(claim{GPUMemory: x.memory}, x.gpus, x.others)
		if !slices.Equal(got, x.want) || (got == nil) == (why == "") && x.want != nil {
			t.Errorf("%v GPUs with %d beside %v: %v %q, want %v", x.gpus, x.memory, x.others, got, why, x.want)
		}
	}
}

// TestRoomIsShared: two engines on one home, as two processes are, never give
// a device to two attempts, and every attempt gets its turn.
func TestRoomIsShared(t *testing.T) {
	home := t.TempDir()
	var wait sync.WaitGroup
	var mu sync.Mutex
	taken := map[int]string{}
	for engine := range 2 {
		e, err := Open(home, Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() })
		run := fmt.Sprintf("run-%d", engine)
		unlock, err := e.LockRun(run)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(unlock)
		for n := range 8 {
			wait.Go(func() {
				id := fmt.Sprintf("%s-%d", run, n)
				got, err := e.room.enter(context.Background(), claim{Run: run, Attempt: id}, 1, 0, func() capacity {
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
				e.room.leave(got)
			})
		}
	}
	wait.Wait()
}

// TestClaimsOfTheDead: what an engine that is gone has left counts for
// nothing.
func TestClaimsOfTheDead(t *testing.T) {
	e, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.room.attach(claim{Run: "gone", Attempt: "a", GPUs: []int{0}, Share: 1}); err != nil {
		t.Fatal(err)
	}
	other := newRoom(e)
	got, err := other.enter(t.Context(), claim{Run: "new", Attempt: "b"}, 1, 0, func() capacity { return capacity{gpus: []monitor.GPU{{Index: 0}}} }, func() bool { return false })
	if err != nil || !slices.Equal(got.GPUs, []int{0}) {
		t.Errorf("%+v (%v)", got, err)
	}
	other.leave(got)
}

// TestPressure: under pressure fewer attempts run, step by step, and more
// again when it is over.
func TestPressure(t *testing.T) {
	e, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	r := e.room
	r.inside = 4
	bad, calm := &monitor.Pressure{Memory: 0.5}, &monitor.Pressure{}
	for _, want := range []int{3, 2, 1, 1} {
		if r.press(bad, 4); r.most != want {
			t.Errorf("%d may run, want %d", r.most, want)
		}
	}
	if _, why, err := r.try(&waiter{}, claim{}, 0, capacity{}); err != nil || !strings.Contains(why, "under pressure: 1") {
		t.Errorf("%q %v", why, err)
	}
	for _, want := range []int{2, 3, 0, 0} {
		if r.press(calm, 4); r.most != want {
			t.Errorf("%d may run, want %d", r.most, want)
		}
	}
}

// TestForecasts: what falls steadily is foretold, what stands still is not.
func TestForecasts(t *testing.T) {
	var tr trace
	var last monitor.Sample
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range 60 {
		last = monitor.Sample{Time: began.Add(time.Duration(i) * time.Second), Disks: []monitor.Disk{
			{What: "home", Total: 1 << 40, Free: 6_000_000 - int64(i)*10_000 + int64(i*7919%500)}, {What: "output", Total: 1 << 40, Free: 1 << 30},
		}, Attempts: []monitor.Attempt{{ID: "a", MemoryLimit: 1000}, {ID: "b", MemoryLimit: 1000}}}
		last.Attempts[0].Memory, last.Attempts[1].Memory = 100+int64(i)*5, 500+int64(i%3)
		tr.add(last)
	}
	got := tr.forecasts(last)
	if len(got) != 2 || got[0].What != "disk full" || got[0].Subject != "home" || got[0].After < 500 || got[0].After > 580 || got[0].rule == "" || got[0].Soonest > got[0].After || got[0].Latest < got[0].After {
		t.Errorf("%+v", got)
	}
	if got[1].Subject != "a" || got[1].After < 110 || got[1].After > 130 {
		t.Errorf("%+v", got[1])
	}
	for i := range 30 {
		tr.minutes = append(tr.minutes, monitor.Self{Goroutines: 20, Memory: amount(int64(100+20*i) << 20)})
	}
	if why := tr.leak(); !strings.Contains(why, "memory in MiB") {
		t.Errorf("a leak is not seen: %q", why)
	}
}
