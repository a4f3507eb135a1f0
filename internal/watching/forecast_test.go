package watching

import (
	"strings"
	"testing"
	"time"

	"ratchet/internal/monitor"
)

func amount(n int64) *int64 { return &n }

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
