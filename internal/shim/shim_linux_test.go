package shim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"ratchet/internal/processes"
	"ratchet/internal/sandbox"
	"ratchet/study"
)

func TestMain(m *testing.M) {
	Main()
	if len(os.Args) > 2 && os.Args[1] == "hostile" {
		os.Exit(hostile(os.Args[2], os.Args[3:]))
	}
	goleak.VerifyTestMain(m)
}

// limits are little enough to be reached, but for the time: a machine can keep a
// program waiting for its processor for a minute.
func limits() study.AttemptLimits {
	return study.AttemptLimits{
		Time: study.Duration(10 * time.Minute), Grace: study.Duration(500 * time.Millisecond), Memory: 256 << 20, CPUs: 1,
		Disk: 32 << 20, Output: 64 << 10, Processes: 64, Network: study.NetworkNone,
	}
}

// levels are the levels of isolation that the tests run under.
var levels = []sandbox.Isolation{sandbox.Strict, sandbox.Process}

// begin starts a command; change changes its spec before.
func begin(t *testing.T, level sandbox.Isolation, command []string, change ...func(*sandbox.Spec)) (*Process, string) {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "attempt")
	spec := &sandbox.Spec{
		Command: command, Env: []string{"PATH=/usr/bin:/bin", "HOME=/tmp", "OWN=1"},
		Isolation: level, Limits: limits(), Checkpoint: filepath.Join(t.TempDir(), "checkpoint"),
	}
	for _, c := range change {
		c(spec)
	}
	h, err := (*Launcher)(nil).Start(folder, spec, func(string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := End(context.Background(), folder); err != nil {
			t.Error(err)
		}
	})
	return h, folder
}

// wait waits for the end of what was begun.
func wait(t *testing.T, h *Process) Ending {
	t.Helper()
	e, err := h.Wait(context.Background())
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(h.folder, recordFile)) // helps to read a failure
		t.Fatalf("%v\n%s", err, log)
	}
	return e
}

// attempt runs a shell script in a sandbox to its end.
func attempt(t *testing.T, level sandbox.Isolation, script string, change ...func(*sandbox.Spec)) (Ending, string) {
	t.Helper()
	h, folder := begin(t, level, []string{"sh", "-c", script}, change...)
	e := wait(t, h)
	if e.SetUp != "" {
		t.Fatalf("set-up: %s", e.SetUp)
	}
	return e, folder
}

// shimOf is who watches an attempt that has begun.
func shimOf(t *testing.T, folder string) processes.Identity {
	t.Helper()
	shim, began, err := noted[processes.Identity](folder, keyShim)
	if !began || err != nil {
		t.Fatalf("the attempt has not begun (%v)", err)
	}
	return shim
}

// output is all that a command printed.
func output(t *testing.T, folder string) string {
	t.Helper()
	out, err := os.ReadFile(Stdout(folder))
	if err != nil {
		t.Fatal(err)
	}
	errs, err := os.ReadFile(Stderr(folder))
	if err != nil {
		t.Fatal(err)
	}
	return string(out) + string(errs)
}

// eventually polls until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(5 * time.Minute)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it never came to this: %s", what)
		}
	}
}

// patiently tries something with a limit of time that grows until nothing is
// wrong: a slow or busy machine takes longer to come to what is tested.
func patiently(t *testing.T, shortest time.Duration, wrong func(limit time.Duration) string) {
	t.Helper()
	for limit := shortest; ; limit *= 3 {
		switch what := wrong(limit); {
		case what == "":
			return
		case limit > 20*shortest:
			t.Errorf("with %s: %s", limit, what)
			return
		}
	}
}

func TestEndings(t *testing.T) {
	for _, level := range levels {
		for _, c := range []struct {
			script string
			exit   int
			signal string
		}{
			{"true", 0, ""}, {"exit 7", 7, ""}, {"exit 137", 137, ""},
			{"kill -SEGV $$", -1, "SIGSEGV"}, {"kill -ABRT $$", -1, "SIGABRT"}, {"kill -KILL $$", -1, "SIGKILL"},
		} {
			e, _ := attempt(t, level, c.script)
			if e.Exit != c.exit || e.Signal != c.signal || e.EndedBy != ByItself {
				t.Errorf("%s, %s: %+v", level, c.script, e)
			}
			if e.Started.IsZero() || e.Ended.Before(e.Started) || e.Wall <= 0 {
				t.Errorf("%s, %s: times %+v", level, c.script, e)
			}
		}
	}
}

func TestCommandThatCannotBeExecuted(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/no/such/interpreter\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("echo hello\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	inputs := func(s *sandbox.Spec) {
		s.Inputs = []sandbox.Bind{{Source: script, Target: "script"}, {Source: plain, Target: "plain"}}
	}
	for _, level := range levels {
		for command, says := range map[string]string{
			"no-such-command": "is not found in the sandbox's PATH", "./nothing": "./nothing is not there",
			"./script": "cannot be executed", "./plain": "is not executable", "/": "is a folder",
		} {
			h, _ := begin(t, level, []string{command}, inputs)
			if e := wait(t, h); !e.Missing || !strings.Contains(e.SetUp, says) {
				t.Errorf("%s, %s: %+v", level, command, e)
			}
		}
	}
}

func TestOutputKeepsHeadAndTail(t *testing.T) {
	for _, level := range levels {
		e, folder := attempt(t, level, "echo first; head -c 20000000 /dev/zero | tr '\\0' x; echo; echo last; printf 'without an end' >&2")
		out := output(t, folder)
		if !strings.HasPrefix(out, "first\n") || !strings.Contains(out, "\nlast\n") || !strings.HasSuffix(out, "without an end") || !strings.Contains(out, "bytes of output were cut here]") {
			t.Errorf("%s: %.40q … %q", level, out, out[max(0, len(out)-60):])
		}
		if len(out) > 70<<10 || e.CutOut < 19_900_000 || e.CutErr != 0 {
			t.Errorf("%s: %d bytes are kept, %d were cut", level, len(out), e.CutOut)
		}
	}
}

func TestTime(t *testing.T) {
	for _, level := range levels {
		killed := map[sandbox.Isolation]string{sandbox.Strict: "killed", sandbox.Process: "SIGKILL"}[level] // with its sandbox, or alone
		for _, c := range []struct{ script, signal, says string }{
			{"exec sleep 100", "SIGTERM", ""},
			{"trap '' TERM; while :; do sleep 0.05; done", killed, ""},
			{"trap 'echo goodbye; exit 0' TERM; while :; do sleep 0.05; done", "", "goodbye\n"},
		} {
			t.Run(string(level)+" "+c.signal, func(t *testing.T) {
				t.Parallel()
				patiently(t, 500*time.Millisecond, func(limit time.Duration) string {
					e, folder := attempt(t, level, c.script, func(s *sandbox.Spec) {
						s.Limits.Time, s.Limits.Grace = study.Duration(limit), study.Duration(limit)
					})
					if said := output(t, folder); e.EndedBy != ByTime || e.Signal != c.signal || !strings.HasPrefix(said, c.says) {
						return fmt.Sprintf("%s: %+v %q", c.script, e, said)
					}
					return ""
				})
			})
		}
	}
}

func TestStall(t *testing.T) {
	for _, level := range levels {
		t.Run(string(level), func(t *testing.T) {
			t.Parallel()
			stall := func(limit time.Duration) func(*sandbox.Spec) {
				return func(s *sandbox.Spec) {
					s.Limits.Stall, s.Limits.Time = study.Duration(limit), study.Duration(time.Hour)
				}
			}
			if e, _ := attempt(t, level, "sleep 1000", stall(time.Second)); e.EndedBy != ByStall {
				t.Errorf("a program that does nothing: %+v", e)
			}
			patiently(t, time.Second, func(limit time.Duration) string {
				talks := fmt.Sprintf("for i in 1 2 3 4 5 6 7 8 9 10; do echo $i; sleep %v; done", limit.Seconds()/7)
				if e, _ := attempt(t, level, talks, stall(limit)); e.EndedBy != ByItself {
					return fmt.Sprintf("a program that talks: %+v", e)
				}
				return ""
			})
		})
	}
}

func TestStopAndKill(t *testing.T) {
	for _, level := range levels {
		h, folder := begin(t, level, []string{"sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done"})
		eventually(t, "the program is ready", func() bool { b, _ := os.ReadFile(Stdout(folder)); return len(b) > 0 })
		if err := h.Stop(); err != nil {
			t.Fatal(err)
		}
		if e := wait(t, h); e.EndedBy != ByRequest || e.Exit != 3 {
			t.Errorf("%s, stopped: %+v", level, e)
		}
		if err := h.Stop(); err != nil {
			t.Errorf("%s: stopping what has ended: %v", level, err)
		}

		h, folder = begin(t, level, []string{"sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"}, func(s *sandbox.Spec) { s.Limits.Grace = study.Duration(time.Hour) })
		eventually(t, "the program is ready", func() bool { b, _ := os.ReadFile(Stdout(folder)); return len(b) > 0 })
		if err := h.Kill(); err != nil {
			t.Fatal(err)
		}
		if e := wait(t, h); e.EndedBy != ByRequest || e.Exit != -1 {
			t.Errorf("%s, killed: %+v", level, e)
		}
	}
}

// TestStartIsIdempotent: starting again attaches, while it runs and after it
// has ended, and prepares nothing.
func TestStartIsIdempotent(t *testing.T) {
	for _, level := range levels {
		h, folder := begin(t, level, []string{"sh", "-c", "echo once; sleep 0.3"})
		again := func() *Process {
			h, err := (*Launcher)(nil).Start(folder, &sandbox.Spec{Command: []string{"false"}}, func(string) error { return errors.New("it is prepared twice") })
			if err != nil {
				t.Fatal(err)
			}
			return h
		}
		other := again()
		if first, second := wait(t, h), wait(t, other); !reflect.DeepEqual(first, second) || first.Exit != 0 {
			t.Errorf("%s: %+v and %+v", level, first, second)
		}
		if e := wait(t, again()); e.Exit != 0 || output(t, folder) != "once\n" {
			t.Errorf("%s: started behind its end: %+v, %q", level, e, output(t, folder))
		}
	}
}

// TestLostShim: where the shim is killed the command is gone with it, and
// waiting callers are told.
func TestLostShim(t *testing.T) {
	for _, level := range levels {
		h, folder := begin(t, level, []string{"sh", "-c", "sleep 1000 & sleep 1000 & echo ready; wait"})
		eventually(t, "the program is ready", func() bool { b, _ := os.ReadFile(Stdout(folder)); return len(b) > 0 })
		below := processes.Descendants(shimOf(t, folder).PID)
		if len(below) < 3 {
			t.Fatalf("%s: the shim has %d processes below it", level, len(below))
		}
		if err := syscall.Kill(shimOf(t, folder).PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Wait(context.Background()); !errors.Is(err, ErrLost) {
			t.Errorf("%s: waiting gives %v", level, err)
		}
		if level == sandbox.Process {
			for _, p := range below[1:] { // these are not guaranteed
				_ = syscall.Kill(p, syscall.SIGKILL)
			}
			continue
		}
		eventually(t, "no process is left", func() bool { return len(running(below)) == 0 })
		h, err := (*Launcher)(nil).Start(folder, &sandbox.Spec{Command: []string{"true"}, Isolation: level}, func(string) error { return errors.New("it is prepared twice") })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Wait(context.Background()); !errors.Is(err, ErrLost) {
			t.Errorf("%s: started again it gives %v", level, err)
		}
	}
}

// running are those of some processes that are there and no zombies.
func running(pids []int) []int {
	var out []int
	for _, p := range pids {
		if fields, err := processes.Stat(p); err == nil && fields[0] != "Z" {
			out = append(out, p)
		}
	}
	return out
}

// TestReusedProcessID: a shim's process id that is another process's by now is
// not mistaken for it.
func TestReusedProcessID(t *testing.T) {
	me, err := processes.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	old := me
	old.Start += "0"
	folder := t.TempDir()
	record, err := os.Create(filepath.Join(folder, recordFile))
	if err == nil {
		err = errors.Join(note(record, keyShim, old), record.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	h := &Process{folder: folder}
	if err := h.Kill(); err != nil { // would interrupt this very process
		t.Fatal(err)
	}
	if again, err := processes.Identify(os.Getpid()); err != nil || again != me {
		t.Errorf("a process has the identities %+v and %+v (%v)", me, again, err)
	}
}

// TestNothingIsLeft: a daemon that got away from its parent is gone with the
// attempt, and what a child writes behind the program's end does not count.
func TestNothingIsLeft(t *testing.T) {
	for _, level := range levels {
		script := `
echo '{"score": 1}' >> "$M"
setsid sh -c 'while :; do echo "{\"score\": 2}" >> "$M"; sleep 0.01; done' >/dev/null 2>&1 &
(setsid sleep 1000 >/dev/null 2>&1 &)
exit 0`
		e, folder := attempt(t, level, script, func(s *sandbox.Spec) {
			s.Env = append(s.Env, "M=../"+sandbox.MetricsFile)
		})
		if e.Exit != 0 || e.MetricsSize == 0 {
			t.Errorf("%s: %+v", level, e)
		}
		size := fileSize(filepath.Join(sandbox.Box(folder), sandbox.MetricsFile))
		for _, p := range everyProcess(t) {
			if cwd, err := os.Readlink(filepath.Join("/proc", p, "cwd")); err == nil && strings.HasPrefix(cwd, folder) {
				t.Errorf("%s: process %s is left in %s", level, p, cwd)
			}
		}
		if now := fileSize(filepath.Join(sandbox.Box(folder), sandbox.MetricsFile)); now != size {
			t.Errorf("%s: the metrics still grow", level)
		}
	}
}

func everyProcess(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		all[i] = filepath.Base(all[i])
	}
	return all
}

// TestSignalsAreAsUsual: a command finds every signal at its default, whatever the
// engine was started to ignore: make has its children ignore signal 32, and Go
// leaves that as it is.
func TestSignalsAreAsUsual(t *testing.T) {
	handle := func(handler uintptr) {
		a := struct { // what rt_sigaction(2) takes
			handler, flags, restorer uintptr
			mask                     uint64
		}{handler: handler}
		if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, 32, uintptr(unsafe.Pointer(&a)), 0, unsafe.Sizeof(a.mask), 0, 0); errno != 0 {
			t.Fatal(errno)
		}
	}
	handle(1) // SIG_IGN
	defer handle(0)
	for _, level := range levels {
		_, folder := attempt(t, level, "grep -E 'Sig(Ign|Blk)' /proc/self/status; yes | head -1")
		want := "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\ny\n"
		if got := output(t, folder); got != want {
			t.Errorf("%s: %q", level, got)
		}
	}
}

func TestEnvironmentIsItsOwn(t *testing.T) {
	t.Setenv("SECRET_OF_THE_ENGINE", "hunter2")
	for _, level := range levels {
		_, folder := attempt(t, level, "env | sort")
		for _, line := range strings.Split(strings.TrimSpace(output(t, folder)), "\n") {
			name, _, _ := strings.Cut(line, "=")
			switch name {
			case "PATH", "HOME", "OWN", "PWD", "SHLVL", "OLDPWD", "_":
			default:
				t.Errorf("%s: the command sees %s", level, line)
			}
		}
	}
}

// TestHalving: a program that falls behind at a rung is ended there.
func TestHalving(t *testing.T) {
	halt := func(goal string, bar float64) func(*sandbox.Spec) {
		return func(s *sandbox.Spec) {
			s.Env = append(s.Env, "M=../"+sandbox.MetricsFile)
			s.Halt = &sandbox.Halt{Metric: "loss", Goal: goal, Rungs: []sandbox.HaltRung{{Step: 2, Bar: bar}}}
		}
	}
	for _, level := range levels {
		for _, c := range []struct {
			goal string
			bar  float64
			want string
		}{
			{study.Minimize, 0.1, ByHalving}, {study.Minimize, 0.3, ByItself}, {study.Maximize, 0.3, ByHalving}, {study.Maximize, 0.2, ByItself},
		} {
			t.Run(fmt.Sprintf("%s %s %v", level, c.goal, c.bar), func(t *testing.T) {
				t.Parallel()
				script := `for i in 1 2 3 4; do echo "{\"step\": $i, \"loss\": 0.$i}" >> $M; done; sleep `
				if c.want == ByItself {
					script += "1" // time to be looked at
				} else {
					script += "1000"
				}
				if e, _ := attempt(t, level, script, halt(c.goal, c.bar)); e.EndedBy != c.want {
					t.Errorf("ended by %q", e.EndedBy)
				}
			})
		}
	}
}

// TestUsage: processor time and memory of the whole tree are measured, as the
// program measures them itself.
func TestUsage(t *testing.T) {
	for _, level := range levels {
		h, folder := begin(t, level, []string{"./hostile", "hostile", "use", "64"}, myself)
		e := wait(t, h)
		var used float64 // processor time, in seconds
		if _, err := fmt.Sscan(output(t, folder), &used); err != nil || used < 0.2 {
			t.Fatalf("%s: it says that it used %v s (%v)", level, used, err)
		}
		// What the system adds up it adds up by hundredths of a second; beside what
		// the child used there are two starts of a program.
		if e.Exit != 0 || e.CPU < used-0.05 || e.CPU > 10*used || e.Memory < 64<<20 || e.Memory > 200<<20 {
			t.Errorf("%s: the child used %v s: %+v", level, used, e)
		}
	}
}

// myself shows this test program to the command as ./hostile.
func myself(s *sandbox.Spec) {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	s.Inputs = append(s.Inputs, sandbox.Bind{Source: self, Target: "hostile"})
}

// TestUsageIsPublished: what a command uses is written down while it runs, and
// is what it uses.
func TestUsageIsPublished(t *testing.T) {
	t.Parallel()
	for _, level := range levels {
		h, folder := begin(t, level, []string{"sh", "-c", `x=$(head -c 30000000 /dev/zero | tr '\0' a); head -c 5000000 /dev/zero > f; (sleep 50 & sleep 50 & wait)`})
		var u processes.Reading
		eventually(t, "its use is published", func() bool {
			var ok bool
			u, ok = Using(folder)
			return ok && u.Disk > 4<<20 && u.Memory > 25<<20 && u.Processes >= 3
		})
		if u.Peak < u.Memory/2 || u.CPU <= 0 || u.Alive.IsZero() || time.Since(u.Time) > 10*time.Second {
			t.Errorf("%s: %+v", level, u)
		}
		if (u.Network != nil) != (level == sandbox.Strict) {
			t.Errorf("%s: its network is %v", level, u.Network)
		}
		if err := h.Kill(); err != nil {
			t.Error(err)
		}
		wait(t, h)
	}
}

// TestStallIsDiagnosed: of a command that hangs, the places in the kernel
// where its processes hung are kept.
func TestStallIsDiagnosed(t *testing.T) {
	t.Parallel()
	for _, level := range levels {
		patiently(t, 300*time.Millisecond, func(limit time.Duration) string {
			e, folder := attempt(t, level, "cat & exec sleep 4321", func(s *sandbox.Spec) { s.Limits.Stall = study.Duration(limit) })
			b, err := os.ReadFile(Diagnosis(folder))
			if e.EndedBy != ByStall || err != nil || !strings.Contains(string(b), "sleep 4321") || !strings.Contains(string(b), "wchan") {
				return fmt.Sprintf("%s: %+v %v %s", level, e, err, b)
			}
			return ""
		})
	}
}

// TestSomebodyElsesFolder: a root engine works in a folder that only its owner
// may enter, and its command still gets no further than its box.
func TestSomebodyElsesFolder(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can enter what belongs to somebody else; CI does it as root")
	}
	home := filepath.Join(t.TempDir(), "home")
	input := filepath.Join(home, "input")
	err := errors.Join(os.Mkdir(home, 0o700), os.WriteFile(input, []byte("theirs"), 0o644))
	err = errors.Join(err, os.Chown(home, 12345, 12345), os.Chown(input, 12345, 12345))
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(home, "attempt")
	spec := &sandbox.Spec{
		Command: []string{"sh", "-c", "cat in; id -u; touch /ratchet/output/x; ls " + home + " || echo not seen"}, Env: []string{"PATH=/usr/bin:/bin"},
		Isolation: sandbox.Strict, Limits: limits(), Inputs: []sandbox.Bind{{Source: input, Target: "in"}},
	}
	h, err := (*Launcher)(nil).Start(folder, spec, func(string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	e := wait(t, h)
	if out := output(t, folder); e.Exit != 0 || !strings.HasPrefix(out, "theirs65534\nnot seen\n") {
		t.Errorf("%+v\n%s", e, out)
	}
}

// TestReachedLimits: a command that reaches a limit and goes on as if nothing were
// succeeds, and its ending names the limit, with how often something was refused
// where the kernel counts.
func TestReachedLimits(t *testing.T) {
	e, _ := attempt(t, sandbox.Strict, "(trap '' XFSZ; head -c 2000000 /dev/zero) > big 2>/dev/null; true", func(s *sandbox.Spec) { s.Limits.Disk = 1 << 20 })
	if want := []Reached{{"disk", 0}}; e.Exit != 0 || !slices.Equal(e.Reached, want) {
		t.Errorf("a full disk: %+v", e)
	}
	if e, _ := attempt(t, sandbox.Strict, "head -c 2000 /dev/zero > small", func(s *sandbox.Spec) { s.Limits.Disk = 1 << 20 }); e.Exit != 0 || len(e.Reached) > 0 {
		t.Errorf("a small file: %+v", e)
	}
	e, _ = attempt(t, sandbox.Strict, "for i in 1 2 3 4 5 6 7 8 9; do sleep 0.3 & done 2>/dev/null; wait; true", func(s *sandbox.Spec) { s.Limits.Processes = 4 })
	if e.ForksRefused && (len(e.Reached) != 1 || e.Reached[0].Limit != "processes" || e.Reached[0].Times < 1) {
		t.Errorf("refused processes: %+v", e)
	}
}
