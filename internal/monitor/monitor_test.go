package monitor_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ratchet/internal/monitor"
	"ratchet/internal/processes"
	"ratchet/internal/research"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// smi is an nvidia-smi that answers as the real one does: the forms are those
// of a machine with an H100 and of one with a card that knows less.
func smi(t *testing.T, devices, processes string) monitor.NvidiaSMI {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nvidia-smi")
	script := "#!/bin/sh\ncase $1 in\n--query-gpu=*) cat <<'END'\n" + devices + "END\n;;\n--query-compute-apps=*) cat <<'END'\n" + processes + "END\n;;\n*) echo \"Invalid option $1\"; exit 2;;\nesac\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return monitor.NvidiaSMI(path)
}

func TestGPUs(t *testing.T) {
	gpus, err := smi(t,
		"0, GPU-3c6d0e1f-aaaa-bbbb-cccc-000000000000, NVIDIA H100 80GB HBM3, 37, 1024, 81559, 41, 119.52, 0\n1, GPU-11111111-aaaa-bbbb-cccc-000000000000, NVIDIA GeForce GTX 1080, [N/A], 12, 8192, 55, [N/A], [N/A]\n",
		"GPU-3c6d0e1f-aaaa-bbbb-cccc-000000000000, 4711, 512\nGPU-3c6d0e1f-aaaa-bbbb-cccc-000000000000, 4712, [N/A]\n").Read(t.Context())
	if err != nil || len(gpus) != 2 {
		t.Fatalf("%+v (%v)", gpus, err)
	}
	a, b := gpus[0], gpus[1]
	if *a.Use != 0.37 || *a.MemoryUsed != 1<<30 || *a.MemoryTotal != 81559<<20 || *a.Temperature != 41 || *a.ECCErrors != 0 || len(a.Processes) != 2 || *a.Processes[0].Memory != 512<<20 || a.Processes[1].Memory != nil {
		t.Errorf("%+v", a)
	}
	if b.Use != nil || b.Power != nil || b.ECCErrors != nil || *b.MemoryUsed != 12<<20 || b.Index != 1 || len(b.Processes) != 0 {
		t.Errorf("what is not known is not zero: %+v", b)
	}
	for _, bad := range []monitor.NvidiaSMI{smi(t, "garbage\n", ""), smi(t, "x, y, z, 1, 2, 3, 4, 5, 6\n", ""), "/no/such/nvidia-smi"} {
		if gpus, err := bad.Read(t.Context()); err == nil {
			t.Errorf("%s: %+v", bad, gpus)
		}
	}
}

// TestMachine: a sample has this machine's figures, and what there is none of
// is absent.
func TestMachine(t *testing.T) {
	m := monitor.Machine{Folders: map[string]string{"home": t.TempDir()}}
	first, rates := m.Sample(t.Context()), monitor.Rates{}
	a := monitor.Attempt{ID: "a", Reading: processes.Reading{Time: time.Now(), CPU: 1, Memory: 5}}
	rates.Of([]monitor.Attempt{a})
	a.Time, a.CPU = a.Time.Add(2*time.Second), 4
	s := m.Sample(t.Context())
	s.Attempts = rates.Of([]monitor.Attempt{a})
	if first.CPU != nil || s.Memory == nil || s.Memory.Total < 1<<28 || s.Memory.Share() <= 0 || s.Memory.Share() >= 1 {
		t.Errorf("%+v", s)
	}
	if len(s.Disks) != 1 || s.Disks[0].Total <= 0 || s.Disks[0].Free > s.Disks[0].Total {
		t.Errorf("%+v", s.Disks)
	}
	if len(s.GPUs) != 0 || s.NoGPUs == "" || s.Engine.Goroutines < 1 || *s.Engine.Descriptors < 3 || *s.Engine.Memory < 1<<20 {
		t.Errorf("%+v", s)
	}
	if len(s.Attempts) != 1 || s.Attempts[0].CPURate != 1.5 {
		t.Errorf("%+v", s.Attempts)
	}
}

// TestRecord: what is kept can be read again, is bounded, and a line that a
// crash cut is left out.
func TestRecord(t *testing.T) {
	dir := t.TempDir()
	r, err := monitor.NewRecord(dir)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	share := 0.5
	for i := range 2000 {
		if err := r.Add(monitor.Sample{Time: began.Add(time.Duration(i) * time.Second), CPU: &share, Disks: []monitor.Disk{{What: "home", Free: int64(i)}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	recent := monitor.Recent(dir)
	if n := len(recent); n < 600 || n > 1200 || recent[n-1].Time != began.Add(1999*time.Second) {
		t.Errorf("%d samples are kept", n)
	}
	minutes := monitor.History(dir)
	if len(minutes) != 34 || minutes[0].Samples != 60 || minutes[0].CPU.Mean != 0.5 || minutes[1].DiskFree["home"] != 119 {
		t.Errorf("%d minutes: %+v", len(minutes), minutes[:2])
	}
	f, err := os.OpenFile(filepath.Join(dir, "recent.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"time": "2026-`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if r, err = monitor.NewRecord(dir); err != nil {
		t.Fatal(err)
	}
	if err := r.Add(monitor.Sample{Time: began.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	again := monitor.Recent(dir)
	if len(again) != len(recent)+1 || again[len(again)-1].Time != began.Add(time.Hour) {
		t.Errorf("behind a cut line: %d samples, before %d", len(again), len(recent))
	}
}

func well() monitor.Facts {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return monitor.Facts{
		Now: now, Limits: monitor.Limits{Memory: 0.9, Disk: 0.9}, LastEvent: now, InFlight: 1, StallAfter: time.Minute,
		Sample: monitor.Sample{Time: now, Memory: &monitor.Memory{Total: 100, Available: 50}, Disks: []monitor.Disk{{What: "home", Total: 1 << 40, Free: 1 << 39}}},
	}
}

// TestHealth: every component can lose its points, says why, and the points
// lost and left are a hundred.
func TestHealth(t *testing.T) {
	if h := monitor.Assess(well()); h.Score != 100 || h.State != monitor.Healthy || len(h.Reasons) != 0 {
		t.Errorf("%+v", h)
	}
	hot, many, bad := 99.0, int64(3), make([]bool, 20)
	for i := range 10 {
		bad[i] = true
	}
	for _, c := range []struct {
		component string
		state     string
		change    func(f *monitor.Facts)
	}{
		{"resources", monitor.Healthy, func(f *monitor.Facts) { f.Sample.Memory.Available = 5 }},
		{"resources", monitor.Degraded, func(f *monitor.Facts) { f.Sample.Disks[0].Free = 1 << 35 }},
		{"resources", monitor.Critical, func(f *monitor.Facts) { f.Sample.Disks[0].Free = 1 << 20 }},
		{"resources", monitor.Degraded, func(f *monitor.Facts) { f.Sample.Pressure = &monitor.Pressure{MemoryFull: 0.5} }},
		{"resources", monitor.Degraded, func(f *monitor.Facts) { f.Sample.GPUs = []monitor.GPU{{Temperature: &hot}} }},
		{"resources", monitor.Degraded, func(f *monitor.Facts) { f.Sample.GPUs = []monitor.GPU{{ECCErrors: &many}} }},
		{"success rate", monitor.Critical, func(f *monitor.Facts) { f.Outcomes = make([]bool, 10) }},
		{"success rate", monitor.Degraded, func(f *monitor.Facts) { f.Outcomes = []bool{true, false, false, true, false, true, false, false} }},
		{"error trend", monitor.Degraded, func(f *monitor.Facts) { f.Outcomes = bad }},
		{"latency", monitor.Healthy, func(f *monitor.Facts) { f.SlowestAppend = 5 * time.Second }},
		{"stalled attempts", monitor.Healthy, func(f *monitor.Facts) {
			f.Sample.Attempts = []monitor.Attempt{{ID: "a", Reading: processes.Reading{Alive: f.Now.Add(-2 * time.Minute)}}}
		}},
		{"dependencies", monitor.Degraded, func(f *monitor.Facts) { f.Dependencies = []monitor.Dependency{{Name: "x", Open: true, Why: "y"}} }},
		{"age", monitor.Healthy, func(f *monitor.Facts) { f.LastEvent, f.InFlight = f.Now.Add(-time.Hour), 0 }},
		{"age", monitor.Healthy, func(f *monitor.Facts) { f.BackupEvery, f.LastBackup = time.Hour, f.Now.Add(-10*time.Hour) }},
		{"the engine", monitor.Healthy, func(f *monitor.Facts) { f.Leak = "it grows" }},
		{"the run", monitor.Critical, func(f *monitor.Facts) { f.Blocked = "quota" }},
	} {
		f := well()
		c.change(&f)
		h := monitor.Assess(f)
		lost := 0
		found := false
		for _, r := range h.Reasons {
			lost += r.Lost
			found = found || r.Component == c.component && r.Why != "" && r.Lost <= r.Of
		}
		if !found || h.Score != max(0, 100-lost) || h.State != c.state {
			t.Errorf("%s: %+v", c.component, h)
		}
	}
}

// TestTrack: one that was unwell recovers for a minute before it is well.
func TestTrack(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	h := monitor.Health{State: monitor.Initialising, Time: now, Since: now}
	for _, c := range []struct {
		after time.Duration
		is    string
		want  string
	}{
		{10 * time.Second, monitor.Healthy, monitor.Healthy}, {20 * time.Second, monitor.Critical, monitor.Critical}, {30 * time.Second, monitor.Degraded, monitor.Degraded},
		{40 * time.Second, monitor.Healthy, monitor.Recovering}, {90 * time.Second, monitor.Healthy, monitor.Recovering}, {101 * time.Second, monitor.Healthy, monitor.Healthy},
	} {
		if h = monitor.Track(h, monitor.Health{State: c.is, Time: now.Add(c.after)}); h.State != c.want {
			t.Errorf("after %s it is %s, want %s", c.after, h.State, c.want)
		}
	}
}

// TestAlerts: one is raised when it has lasted, once, and resolved when it has
// been over for as long; what swings between raises nothing twice.
func TestAlerts(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	rules := []monitor.Rule{{Name: "disk", Severity: research.Warning, Threshold: 0.9, Clear: 0.8, For: 30 * time.Second}}
	a := monitor.NewAlerts(rules, nil)
	var got []string
	at := func(second int, values ...float64) {
		var readings []monitor.Reading
		for _, v := range values {
			readings = append(readings, monitor.Reading{Rule: "disk", Subject: "home", Value: v, Text: "t"})
		}
		for _, p := range a.Step(began.Add(time.Duration(second)*time.Second), readings) {
			got = append(got, strings.TrimPrefix(p.Type(), "alert."))
		}
	}
	expect := func(what, want string) {
		t.Helper()
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: %q, want %q", what, s, want)
		}
	}
	at(0, 0.95)
	at(20, 0.95)
	at(25, 0.85)
	at(40, 0.95)
	expect("a break begins anew", "")
	at(70, 0.95)
	expect("it has lasted", "raised")
	at(80, 0.99)
	at(200, 0.85)
	at(300, 0.95)
	expect("it swings", "raised")
	at(310, 0.5)
	at(330, 0.85)
	at(340, 0.5)
	expect("not over for long enough", "raised")
	at(371, 0.5)
	expect("over", "raised resolved")
	at(400, 0.95)
	at(431, 0.95)
	at(440)
	at(471)
	expect("no reading any more", "raised resolved raised resolved")

	// Another engine goes on from what is raised, and lets others' alone.
	b := monitor.NewAlerts(rules, []research.AlertRaised{{Rule: "disk", Subject: "home"}, {Rule: "paused"}})
	reading := []monitor.Reading{{Rule: "disk", Subject: "home", Value: 0.95}}
	if p := append(b.Step(began, reading), b.Step(began.Add(time.Hour), reading)...); len(p) != 0 {
		t.Errorf("it is raised twice: %v", p)
	}
}

// TestEveryReadingHasARule: what is read is looked at.
func TestEveryReadingHasARule(t *testing.T) {
	f := well()
	hot := 99.0
	f.Sample.CPU, f.Sample.Pressure, f.Sample.GPUs = &hot, &monitor.Pressure{}, []monitor.GPU{{Temperature: &hot}}
	f.Outcomes, f.Dependencies, f.Leak = make([]bool, 20), []monitor.Dependency{{Name: "x"}}, "it grows"
	f.BackupEvery, f.LastBackup = time.Hour, f.Now
	f.Sample.Attempts = []monitor.Attempt{{ID: "a"}}
	rules := map[string]bool{}
	for _, r := range monitor.Rules(monitor.Limits{CPU: 1, Memory: 1, Disk: 1, GPUMemory: 1}) {
		rules[r.Name] = true
	}
	for _, r := range monitor.Readings(f, monitor.Health{State: monitor.Critical, Reasons: []monitor.Reason{{Why: "w"}}}) {
		if !rules[r.Rule] || r.Text == "" {
			t.Errorf("%+v", r)
		}
	}
}

// BenchmarkSample is what a second of watching costs: a sample of the machine
// and of 50 attempts.
func BenchmarkSample(b *testing.B) {
	m := monitor.Machine{Folders: map[string]string{"home": b.TempDir()}}
	attempts := make([]monitor.Attempt, 50)
	for i := range attempts {
		attempts[i] = monitor.Attempt{ID: string(rune('a' + i))}
	}
	r, err := monitor.NewRecord(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	for b.Loop() {
		if err := r.Add(m.Sample(context.Background())); err != nil {
			b.Fatal(err)
		}
	}
}
