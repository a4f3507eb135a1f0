package shim

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"ratchet/internal/metrics"
	"ratchet/internal/processes"
	"ratchet/internal/sandbox"
	"ratchet/internal/untrusted"
)

// How often a watch looks. Looking at the disk costs by the file, so it is
// rarer the longer it takes.
const (
	watchEvery  = 50 * time.Millisecond
	diskMaxLoad = 20 // a walk of duration d is repeated after d times this
)

// supervision keeps a command to its limits until it ends.
type supervision struct {
	folder  string
	spec    *sandbox.Spec
	child   *contained
	group   *sandbox.Group
	outside <-chan os.Signal // see shim
	wakes   <-chan os.Signal
	began   time.Time

	cpu      float64 // seconds, at most seen
	memory   int64   // bytes, at most seen
	held     int64   // bytes of memory that have no name, when last looked
	nextDisk time.Time

	share throttle

	usage     processes.Reading // what was published last
	nextUsage time.Time
	tree      processes.Meter

	alive   sign
	since   time.Time // of the last sign of life
	series  *metrics.Series
	metrics *os.File
}

// sign is what a program that is alive changes.
type sign struct {
	cpu     float64
	out     int64
	metrics int64
}

// run returns when the main program has ended, with the reason if it was the
// watch that ended it.
func (w *supervision) run() string {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	w.since = w.began
	if request, ok := requested(w.folder); ok { // before there was anybody to wake
		return w.asked(request == requestKill)
	}
	var deadline <-chan time.Time
	if limit := time.Duration(w.spec.Limits.Time); limit > 0 {
		timer := time.NewTimer(limit - time.Since(w.began))
		defer timer.Stop()
		deadline = timer.C
	}
	for {
		select {
		case <-w.child.ended:
			if w.behind() {
				return ByHalving // it ended before the watch saw the rung
			}
			return ByItself
		case <-deadline:
			return w.end(ByTime)
		case sig := <-w.outside:
			return w.asked(sig == syscall.SIGINT)
		case <-w.wakes:
			if request, ok := requested(w.folder); ok {
				return w.asked(request == requestKill)
			}
		case <-tick.C:
			switch reason := w.check(); reason {
			case ByItself:
			case ByMemory, ByDisk, ByDepth:
				// Every further moment makes it worse: no grace.
				processes.Kill(w.child.pid, w.child.isolated, w.child.ended)
				<-w.child.ended
				return reason
			case ByStall:
				// What it hung in is gone with it.
				_ = os.WriteFile(filepath.Join(w.folder, diagnosisFile), processes.Diagnose(w.child.pid), 0o600)
				return w.end(reason)
			default:
				return w.end(reason)
			}
		}
	}
}

// asked ends the command if that was requested.
func (w *supervision) asked(atOnce bool) string {
	if atOnce {
		processes.Kill(w.child.pid, w.child.isolated, w.child.ended)
	}
	return w.end(ByRequest)
}

// end gives the program its grace, then ends the whole tree.
func (w *supervision) end(reason string) string {
	processes.Terminate(w.child.pid, w.child.isolated)
	grace := time.NewTimer(time.Duration(w.spec.Limits.Grace))
	defer grace.Stop()
	for {
		select {
		case <-w.child.ended:
			return reason
		case <-grace.C:
		case sig := <-w.outside:
			if sig != syscall.SIGINT {
				continue
			}
		case <-w.wakes:
			if request, _ := requested(w.folder); request != requestKill {
				continue
			}
		}
		processes.Kill(w.child.pid, w.child.isolated, w.child.ended)
		<-w.child.ended
		return reason
	}
}

func (w *supervision) check() string {
	cpu, memory := processes.Measure(w.child.pid, int64(w.spec.Limits.Memory), w.group.LimitsMemory(), w.held)
	w.cpu, w.memory = max(w.cpu, cpu), max(w.memory, memory)
	if !w.group.LimitsCPU() {
		w.share.enforce(w.child.pid, w.spec.Limits.CPUs, w.cpu, time.Now())
	}
	if memory > int64(w.spec.Limits.Memory) && !w.group.LimitsMemory() {
		return ByMemory
	}
	if w.behind() {
		return ByHalving
	}
	now := time.Now()
	disk := int64(0)
	if now.After(w.nextDisk) {
		var counted bool
		disk, _, counted = diskUse(w.folder, w.spec)
		nameless, memory := processes.Held(w.child.pid, sandbox.Writable(w.folder, w.spec)...)
		disk += nameless
		w.held = memory
		w.nextDisk = now.Add(diskMaxLoad * time.Since(now))
		switch {
		case disk > int64(w.spec.Limits.Disk):
			return ByDisk
		case !counted:
			return ByDepth
		}
	}
	is := sign{cpu, w.child.stdout.seen() + w.child.stderr.seen(), fileSize(w.metricsPath())}
	if is != w.alive {
		w.alive, w.since = is, now
	}
	w.publish(now, disk)
	if stall := time.Duration(w.spec.Limits.Stall); stall > 0 && now.Sub(w.since) > stall {
		return ByStall
	}
	return ByItself
}

func (w *supervision) metricsPath() string {
	return filepath.Join(sandbox.Box(w.folder), sandbox.MetricsFile)
}

// behind reads what is new of the metrics and reports whether the program has
// passed a rung below its bar.
func (w *supervision) behind() bool {
	h := w.spec.Halt
	if h == nil || len(h.Rungs) == 0 {
		return false
	}
	if w.series == nil {
		box, err := untrusted.OpenBox(sandbox.Box(w.folder))
		if err != nil {
			return false
		}
		f, _, err := box.Open(sandbox.MetricsFile)
		_ = box.Close() // only a way to the file
		if err != nil {
			return false
		}
		w.metrics, w.series = f, metrics.NewSeries()
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := w.metrics.Read(buf)
		w.series.Write(buf[:n])
		if err != nil {
			break
		}
	}
	for _, rung := range h.Rungs {
		if v, ok := w.series.At(h.Metric, rung.Step); ok && !reaches(h, v, rung.Bar) {
			return true
		}
	}
	return false
}

// diskUse is the blocks that the files in all folders of an attempt's command
// occupy, in bytes, and the size of the largest. counted is false where some are
// nested too deep to be.
func diskUse(folder string, spec *sandbox.Spec) (total, largest int64, counted bool) {
	counted = true
	for _, dir := range sandbox.Writable(folder, spec) {
		box, err := untrusted.OpenBox(dir)
		if err != nil {
			continue // gone: it occupies nothing
		}
		_ = box.Walk(func(e *untrusted.Entry, err error) error {
			if err == nil {
				total += e.Info.Disk
				largest = max(largest, e.Info.Size)
			}
			counted = counted && !errors.Is(err, untrusted.ErrDepth)
			return nil
		})
		_ = box.Close() // only read from
	}
	return total, largest, counted
}
