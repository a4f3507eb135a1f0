package shim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"ratchet/internal/processes"
	"ratchet/internal/sandbox"
	"ratchet/study"
)

// inTurn runs scripts one after another with a launcher and gives who watched
// each.
type inTurn struct {
	*Launcher
	t   *testing.T
	dir string
	n   int
}

func newInTurn(t *testing.T) *inTurn {
	l := &inTurn{Launcher: &Launcher{}, t: t, dir: t.TempDir()}
	t.Cleanup(l.Close)
	return l
}

func (l *inTurn) start(level sandbox.Isolation, script string, change ...func(*sandbox.Spec)) (*Process, string) {
	l.t.Helper()
	l.n++
	folder := filepath.Join(l.dir, fmt.Sprint(l.n))
	spec := &sandbox.Spec{Command: []string{"sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}, Isolation: level, Limits: limits()}
	for _, c := range change {
		c(spec)
	}
	h, err := l.Start(folder, spec, func(string) error { return nil })
	if err != nil {
		l.t.Fatal(err)
	}
	return h, folder
}

// run gives what a script printed and who watched it.
func (l *inTurn) run(level sandbox.Isolation, script string, change ...func(*sandbox.Spec)) (string, int) {
	l.t.Helper()
	h, folder := l.start(level, script, change...)
	if e := wait(l.t, h); e.Exit != 0 {
		l.t.Fatalf("%s: %+v\n%s", script, e, output(l.t, folder))
	}
	return output(l.t, folder), shimOf(l.t, folder).PID
}

// descriptors is how many files a process has open; none if it has ended, also if
// it was not waited for yet: it is root's then.
func descriptors(t *testing.T, pid int) int {
	t.Helper()
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrPermission) {
		t.Fatal(err)
	}
	return len(fds)
}

// TestShimsAreUsedAgain: few shims watch many attempts, nothing piles up in
// them, and after a number of attempts they make room for new ones.
func TestShimsAreUsedAgain(t *testing.T) {
	t.Parallel()
	for _, level := range levels {
		l := newInTurn(t)
		watched := map[int]int{}
		for range 2*attemptsPerShim + 10 {
			_, shim := l.run(level, "true")
			watched[shim]++
			// While it makes its next sandbox it has some 30.
			if n := descriptors(t, shim); n > attemptsPerShim*3/4 {
				t.Fatalf("%s: a shim has %d descriptors after %d attempts", level, n, watched[shim])
			}
			if watched[shim] > attemptsPerShim {
				t.Fatalf("%s: shim %d has watched %d attempts", level, shim, watched[shim])
			}
		}
		if len(watched) < 3 || len(watched) > 6 {
			t.Errorf("%s: %d shims watched %d attempts", level, len(watched), 2*attemptsPerShim+10)
		}
	}
}

// TestMadeAhead: a sandbox that was made ahead, for an attempt like the one
// before, shows an attempt its own files, and is not taken where it does not
// fit.
func TestMadeAhead(t *testing.T) {
	l := newInTurn(t)
	inputs := t.TempDir()
	for i := range 6 {
		name := filepath.Join(inputs, fmt.Sprint(i))
		if err := os.WriteFile(name, []byte(fmt.Sprint("input ", i)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, 0o644); err != nil {
			t.Fatal(err)
		}
		got, _ := l.run(sandbox.Strict, "cat in; ls /tmp; echo mine > /tmp/file; ls /ratchet/work /machine /view 2>/dev/null; cat /proc/net/dev | grep -c :", func(s *sandbox.Spec) {
			s.Inputs = []sandbox.Bind{{Source: name, Target: "in"}}
		})
		if want := fmt.Sprintf("input %d/ratchet/work:\nin\n", i); !strings.HasPrefix(got, want) {
			t.Errorf("attempt %d sees %q, not %q", i, got, want)
		}
	}
	sizeOf := func(memory int64) func(*sandbox.Spec) {
		return func(s *sandbox.Spec) { s.Limits.Memory = study.Bytes(memory) }
	}
	const shm = "df -k /dev/shm | tail -1 | awk '{print $2}'"
	for _, mib := range []int64{64, 64, 128, 64} {
		if got, _ := l.run(sandbox.Strict, shm, sizeOf(mib<<20)); strings.TrimSpace(got) != fmt.Sprint(mib<<10) {
			t.Errorf("with %d MiB, /dev/shm has %s KiB", mib, got)
		}
	}
	host := func(s *sandbox.Spec) { s.Limits.Network = study.NetworkHost }
	machine, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		change, own := func(*sandbox.Spec) {}, true
		if i%2 == 1 {
			change, own = host, false
		}
		got, _ := l.run(sandbox.Strict, "readlink /proc/self/ns/net", change)
		if (strings.TrimSpace(got) != machine) != own {
			t.Errorf("attempt %d has the network %s, the machine %s", i, got, machine)
		}
	}
}

// TestARequestIsForOneAttempt: who asks for the end of an attempt that has
// ended does not end the one that its shim watches by then.
func TestARequestIsForOneAttempt(t *testing.T) {
	for _, level := range levels {
		l := newInTurn(t)
		before := map[int]*Process{}
		var h, old *Process
		for old == nil { // until a shim is at work that was at work before
			first, folder := l.start(level, "true")
			wait(t, first)
			before[shimOf(t, folder).PID] = first
			h, folder = l.start(level, "echo ready; read x < /ratchet/work/pipe || sleep 1000")
			eventually(t, "the program is ready", func() bool { b, _ := os.ReadFile(Stdout(folder)); return len(b) > 0 })
			pid := shimOf(t, folder).PID
			if old = before[pid]; old == nil {
				if err := h.Kill(); err != nil {
					t.Fatal(err)
				}
				wait(t, h)
				before[pid] = h
			}
		}
		if err := old.Kill(); err != nil {
			t.Fatal(err)
		}
		// Had it meant this one, the signal would be another.
		if err := h.Stop(); err != nil {
			t.Fatal(err)
		}
		if e := wait(t, h); e.EndedBy != ByRequest || e.Signal != "SIGTERM" {
			t.Errorf("%s: it ended so: %+v", level, e)
		}
	}
}

// TestLookingDisturbsNoStart: a process that checks at the moment of a start whether
// the attempt runs is not taken for one who runs it.
func TestLookingDisturbsNoStart(t *testing.T) {
	l := newInTurn(t)
	for range 20 {
		folder := filepath.Join(l.dir, fmt.Sprint(l.n+1))
		stop := make(chan struct{})
		var looking sync.WaitGroup
		for range 2 {
			looking.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						Live(folder)
					}
				}
			})
		}
		h, _ := l.start(sandbox.Process, "true")
		close(stop)
		looking.Wait()
		if e := wait(t, h); e.Exit != 0 {
			t.Errorf("%+v", e)
		}
	}
}

// TestAskedFromOutside: a signal to the shim itself ends its attempt, with
// grace.
func TestAskedFromOutside(t *testing.T) {
	for _, level := range levels {
		l := newInTurn(t)
		h, folder := l.start(level, "echo ready; sleep 1000")
		eventually(t, "the program is ready", func() bool { b, _ := os.ReadFile(Stdout(folder)); return len(b) > 0 })
		if err := syscall.Kill(shimOf(t, folder).PID, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if e := wait(t, h); e.EndedBy != ByRequest || e.Signal != "SIGTERM" {
			t.Errorf("%s: it ended so: %+v", level, e)
		}
	}
}

// TestWhoSyncs: where the process that started an attempt is there to collect
// it, its ending holds within this boot only; where it has let go, for good.
func TestWhoSyncs(t *testing.T) {
	t.Parallel()
	l := &Launcher{}
	folder := func() string { return filepath.Join(t.TempDir(), "attempt") }
	spec := &sandbox.Spec{Command: []string{"sh", "-c", "echo ready; sleep 1"}, Env: []string{"PATH=/usr/bin:/bin"}, Isolation: sandbox.Strict, Limits: limits()}
	start := func(l *Launcher, folder string) *Process {
		h, err := l.Start(folder, spec, func(string) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	collected, left, alone := folder(), folder(), folder()
	if e := wait(t, start(l, collected)); e.Boot != processes.Boot() {
		t.Errorf("collected at once, the ending holds within boot %q", e.Boot)
	}
	h := start(l, left)
	l.Close()
	if e := wait(t, h); e.Boot != "" {
		t.Errorf("let go, the ending holds within boot %q only", e.Boot)
	}
	if e := wait(t, start(nil, alone)); e.Boot != "" {
		t.Errorf("on its own, the ending holds within boot %q only", e.Boot)
	}
}

// TestEndingsAfterAPowerCut: an ending that was not synced counts for nothing
// after the machine went down, nor does one of which a part is on disk.
func TestEndingsAfterAPowerCut(t *testing.T) {
	ending := func(boot string) string {
		folder := t.TempDir()
		f, err := os.Create(filepath.Join(folder, recordFile))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := note(f, keyEnding, Ending{Exit: 3, Boot: boot}); err != nil {
			t.Fatal(err)
		}
		return folder
	}
	cut := ending("")
	if err := os.Truncate(filepath.Join(cut, recordFile), 30); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what, folder string
		lost         bool
	}{
		{"synced", ending(""), false}, {"of this boot", ending(processes.Boot()), false}, {"of an earlier boot", ending("earlier"), true},
		{"cut", cut, true}, {"none", t.TempDir(), true},
	} {
		e, err := (&Process{folder: c.folder}).Wait(context.Background())
		if errors.Is(err, ErrLost) != c.lost || !c.lost && (err != nil || e.Exit != 3) {
			t.Errorf("%s: %+v, %v", c.what, e, err)
		}
	}
}

// BenchmarkStart is a command from the call that starts it until its ending is
// known, one after another.
func BenchmarkStart(b *testing.B) {
	dir := b.TempDir()
	l := &Launcher{}
	defer l.Close()
	n := 0
	for b.Loop() {
		n++
		spec := &sandbox.Spec{Command: []string{"sh", "-c", "true"}, Env: []string{"PATH=/usr/bin:/bin"}, Isolation: sandbox.Strict, Limits: limits()}
		h, err := l.Start(filepath.Join(dir, fmt.Sprint(n)), spec, func(string) error { return nil })
		if err != nil {
			b.Fatal(err)
		}
		if _, err := h.Wait(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
