package hostile_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ratchet/internal/engine"
	"ratchet/internal/engine/enginetest"
	"ratchet/internal/journal"
	"ratchet/internal/objects"
	"ratchet/internal/proof"
	"ratchet/internal/research"
)

// hostile is a program that harms its user, and how its first trial
// must end under strict isolation.
type hostile struct {
	name    string
	sample  bool   // it runs also where only a sample does
	program string // of sh; $1 is the seed
	limits  string // in the place of some of the usual ones
	more    string // of the study file
	want    research.Class
	tries   int    // attempts of the first trial; 0: any number
	says    string // in the last attempt's message
	// during runs while the program does; check looks at what is left.
	during func(t *testing.T, h *haunted)
	check  func(t *testing.T, h *haunted)
}

const score = enginetest.Score

// haunted is the run of one hostile program.
type haunted struct {
	*enginetest.Lab
	engine  *enginetest.Engine
	run     string
	state   *research.State
	trial   *research.Trial
	outside string // a folder that must stay as it is
	port    int    // of a listener on the machine's loopback
}

// output is what the last attempt wrote to stdout and stderr, as it is kept.
func (h *haunted) output(t *testing.T) string {
	t.Helper()
	streams, err := h.engine.Logs(h.state, h.trial.ID)
	if err != nil {
		t.Fatal(err)
	}
	return enginetest.TextOf(t, streams)
}

// firstSeed is the first seed of a run whose own is 1. The programs see it as 1.
var firstSeed = research.SearchSeeds(1, 1)[0]

// first ends the trials behind the first one, which says enough.
const first = `[ "$1" = 1 ] || exit 0; `

// python wraps a program of Python.
func python(text string) string { return "exec python3 - \"$@\" <<'END'\n" + text + "\nEND\n" }

var hostiles = []hostile{
	{name: "1 fork bomb", program: `b() { b | b & }; b; sleep 1`, limits: "processes: 40", want: research.Resource},
	{name: "1 fork bomb that never ends", program: `b() { b | b; }; b`, limits: "processes: 40, time: 2s", want: research.Resource},
	{name: "2 a daemon", sample: true, program: score + `(setsid sh -c 'sleep 4711 & sleep 4712' &) ; sleep 0.1`, want: research.Succeeded},
	{name: "3 ignores SIGTERM", program: `trap '' TERM; while :; do sleep 0.1; done`, limits: "time: 500ms, grace: 300ms", want: research.Timeout, tries: 2, says: "limits.attempt.time"},
	{name: "4 eats memory", sample: true, program: python("x=[]\nwhile True: x.append(bytearray(1<<26))"), want: research.Resource, says: "memory", check: func(t *testing.T, h *haunted) {
		// Where there are no control groups it is noticed after it has happened:
		// how much it is by then depends on the machine.
		if u := h.trial.Last().Usage.Memory; u < 40<<20 || u > 77<<20 && os.Getuid() == 0 {
			t.Errorf("the peak was %d bytes of 64 MiB", u)
		}
	}},
	{name: "5 eats memory in children", program: python(`
import subprocess, sys, time
eats = "x=bytearray(20<<20); x[::4096]=b'1'*len(x[::4096]); print('full', flush=True); input()"
children = [subprocess.Popen([sys.executable, "-c", eats], stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(10)]
full = [c.stdout.readline() for c in children]
if all(full): time.sleep(60)`), want: research.Resource, says: "memory"},
	{name: "6 small files", program: `i=0; while :; do head -c 40000 /dev/zero > f$i || exit 1; i=$((i+1)); done`, want: research.Resource},
	{name: "6 one file", program: `head -c 1000000000 /dev/zero > f || exit 1; ` + score, want: research.Resource},
	{name: "6 a sparse file", program: `truncate -s 1T f || exit 1; ` + score, want: research.Resource},
	{name: "7 prints 10 GiB", limits: "time: 20m", program: score + first + `dd if=/dev/zero bs=1M count=10240 status=none`, want: research.Succeeded, check: func(t *testing.T, h *haunted) {
		if n := len(h.output(t)); n > 10<<20 {
			t.Errorf("%d bytes are kept", n)
		}
		if notes := strings.Join(h.trial.Last().Notes, "; "); !strings.Contains(notes, "bytes of stdout") {
			t.Errorf("it does not say what was cut: %s", notes)
		}
	}},
	{name: "8 prints what a terminal obeys", sample: true, program: `printf '\377\376 \033]0;owned\007\033[2J \342\200\256' >&2; head -c 300000 /dev/zero | tr '\0' a; exit 3`, want: research.ProgramFault, tries: 2, check: func(t *testing.T, h *haunted) {
		if m := h.trial.Last().Message; strings.ContainsAny(m, "\x1b\x07\u202e") || !strings.Contains(m, `\x1b]0;owned`) {
			t.Errorf("the message is %q", m)
		}
	}},
	{name: "9 does nothing", program: `exec sleep 4713`, limits: "stall: 2s", want: research.Timeout, says: "limits.attempt.stall", check: func(t *testing.T, h *haunted) {
		if !strings.Contains(h.evidence(t, "diagnosis.txt"), "sleep 4713") {
			t.Error("there is no diagnosis")
		}
	}},
	{name: "10 reads secrets", program: `cat /proc/1/environ "$OUTSIDE/secret" ~/.ssh/* ~/.aws/* /root/.ssh/* /proc/*/environ 2>/dev/null; find / -name 'journal.db' 2>/dev/null; ` + score, want: research.Succeeded, check: func(t *testing.T, h *haunted) {
		if out := h.output(t); strings.Contains(out, "hunter2") || strings.Contains(out, "journal.db") {
			t.Errorf("it saw %.500q", out)
		}
	}},
	{name: "11 connects", program: python(`
import socket, os, sys
for where in ("127.0.0.1", int(os.environ["PORT"])), ("169.254.169.254", 80), ("1.1.1.1", 53):
    s = socket.socket(); s.settimeout(1)
    try:
        s.connect(where); print("CONNECTED", where)
    except OSError as e: print(e)
open(os.environ["RATCHET_METRICS"], "a").write('{"score": 1}\n')`), want: research.Succeeded, check: func(t *testing.T, h *haunted) {
		if out := h.output(t); strings.Contains(out, "CONNECTED") {
			t.Error(out)
		}
	}},
	{name: "12 listens", program: score + python(`
import socket, time
a = socket.socket(); a.bind(("0.0.0.0", 47110)); a.listen()
b = socket.socket(socket.AF_UNIX); b.bind("\0ratchet-hostile"); b.listen()
time.sleep(1)`), want: research.Succeeded, during: func(t *testing.T, h *haunted) {
		if c, err := net.DialTimeout("tcp", "127.0.0.1:47110", 100*time.Millisecond); err == nil {
			c.Close()
			t.Error("it can be reached")
		}
		if c, err := net.Dial("unix", "@ratchet-hostile"); err == nil {
			c.Close()
			t.Error("its abstract socket can be reached")
		}
	}},
	{name: "13 kills all it sees", program: score + `kill -9 -1; i=3; while [ $i -lt 2000 ]; do kill -9 $i 2>/dev/null; i=$((i+1)); done`, want: research.Succeeded},
	{name: "14 calls the kernel", sample: true, program: score + `mount -t tmpfs x /tmp; chroot / true; unshare -U true; echo "over: $?"`, want: research.Security, tries: 1, says: "mount"},
	{name: "15 writes elsewhere", sample: true, program: `for f in "$OUTSIDE/new" "../../../../$OUTSIDE/new" "/proc/self/root$OUTSIDE/new" "/proc/1/root$OUTSIDE/secret" /etc/new /usr/new; do echo harm > "$f" && echo "WROTE $f"; done 2>/dev/null
ln -s "$OUTSIDE/secret" link; echo harm > link && echo WROTE; ln "$OUTSIDE/secret" hard && echo WROTE; mkdir d && cd d && echo harm > ../../../../../x && echo WROTE; ` + score, want: research.Succeeded, check: func(t *testing.T, h *haunted) {
		if out := h.output(t); strings.Contains(out, "WROTE") {
			t.Error(out)
		}
	}},
	{name: "16 leaves odd artifacts", program: `cd "$RATCHET_OUTPUT"; echo good > good; ln -s /etc/shadow shadow; mkfifo pipe; python3 -c "import socket; socket.socket(socket.AF_UNIX).bind('socket')"; mknod device c 1 3 2>/dev/null
touch 'new
line'; echo x > none; chmod 0 none; mkdir many; [ "$1" = 1 ] && (cd many; seq 1 12000 | xargs touch); (while :; do echo more; done > grows) & sleep 0.3; ` + score, want: research.Succeeded, check: func(t *testing.T, h *haunted) {
		if h.evidence(t, "output/good") != "good\n" {
			t.Error("the good file is not kept")
		}
		notes := strings.Join(h.trial.Last().Notes, "\n")
		for _, want := range []string{`"shadow" is a symbolic link`, `"pipe" is a named pipe`, `"socket" is a socket`, `"new\nline" has a name`} {
			if !strings.Contains(notes, want) {
				t.Errorf("no %q in\n%s", want, notes)
			}
		}
	}},
	{name: "17 bad metrics", program: `{ echo '{"score": 5, "step": 1}'; echo 'text'; echo '{"x": 1e999}'; echo '{"x": NaN}'; head -c 30000000 /dev/zero | tr '\0' y; echo; head -c 3000 /dev/urandom; echo; echo '{"score": 7, "score": 8}'; seq 1 200000 | sed 's/.*/{"y": &}/'; printf '{"score": 9'; } >> "$RATCHET_METRICS"`, limits: "disk: 64MiB", want: research.Succeeded, check: func(t *testing.T, h *haunted) {
		if v := h.trial.Metrics()["score"]; v != 8 {
			t.Errorf("the score is %v", v)
		}
		if v := h.trial.Metrics()["y"]; v != 200000 {
			t.Errorf("y is %v", v)
		}
		if notes := strings.Join(h.trial.Last().Notes, "\n"); !strings.Contains(notes, "lines of metrics were left out") {
			t.Error(notes)
		}
	}},
	{name: "17 NaN as the objective", program: `echo '{"score": NaN}' >> "$RATCHET_METRICS"`, want: research.InvalidOutput, tries: 2},
	{name: "18 removes its metrics", program: score + `rm -f "$RATCHET_METRICS"; rm -rf "$RATCHET_CHECKPOINT" "$RATCHET_OUTPUT" ./* ..; true`, want: research.InvalidOutput},
	{name: "18 replaces its metrics", program: score + `rm -f "$RATCHET_METRICS"; ln -s /etc/passwd "$RATCHET_METRICS"`, want: research.InvalidOutput},
	{name: "19 says nothing", program: `true`, want: research.InvalidOutput, tries: 2, says: "no value of the objective"},
	{name: "20 segmentation fault", program: `kill -SEGV $$`, want: research.ProgramFault, says: "SIGSEGV"},
	{name: "20 abort", program: `kill -ABRT $$`, want: research.ProgramFault, says: "SIGABRT"},
	{name: "20 its own 137", program: `exit 137`, want: research.ProgramFault, says: "137"},
	{name: "20 somebody's SIGKILL", program: score + `[ "$RATCHET_ATTEMPT" = 1 ] && [ "$1" = 1 ] && exec sleep 4714; true`, want: research.Succeeded, tries: 2, during: func(t *testing.T, h *haunted) {
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
			if pids := running(t, "sleep\x004714"); len(pids) > 0 {
				_ = syscall.Kill(pids[0], syscall.SIGKILL)
				return
			}
		}
		t.Error("it was never there")
	}, check: func(t *testing.T, h *haunted) {
		if c := h.trial.Attempts[0].Class; c != research.Transient {
			t.Errorf("the kill was taken for %s", c)
		}
	}},
	{name: "21 another clock", program: `date -s 2001-01-01 2>/dev/null; export TZ=Asia/Kathmandu LC_ALL=tlh_KL; umask 777; ulimit -n 20; renice -n 19 $$ >/dev/null 2>&1; ` + score, want: research.Succeeded, check: func(t *testing.T, h *haunted) {
		if a := h.trial.Last(); time.Since(a.Started).Abs() > time.Hour || a.Ended.Before(a.Started) {
			t.Errorf("it began at %s and ended at %s", a.Started, a.Ended)
		}
	}},
	{name: "22 spins", program: score + first + `for i in 1 2 3 4; do (while :; do :; done) & done; sleep 4`, limits: "cpus: 0.5", want: research.Succeeded, check: func(t *testing.T, h *haunted) {
		if u := h.trial.Last().Usage; u.CPU/u.Wall > 0.8 {
			t.Errorf("it had %.2f processors, half a one is allowed", u.CPU/u.Wall)
		}
	}},
	{name: "23 a huge checkpoint", program: `head -c 10737418240 /dev/zero > "$RATCHET_CHECKPOINT/state" || exit 1; ` + score, want: research.Resource},
	{name: "23 half a checkpoint", sample: true, program: `cd "$RATCHET_CHECKPOINT"
if [ "$RATCHET_ATTEMPT" = 1 ]; then echo whole > new && mv new state; echo ha > new; kill -SEGV $$; fi
[ "$(cat state)" = whole ] && ` + score, want: research.Succeeded, tries: 2},
	{name: "24 prints a key", sample: true, program: `key=sk-` + "proj-" + `a1B2c3D4a1B2c3D4a1B2c3D4a1B2c3D4; echo "using $key"; echo "ValueError: bad key $key" >&2; echo "{\"score\": 1, \"$key\": 2}" >> "$RATCHET_METRICS"; [ "$1" = 1 ] && exit 1; true`, want: research.ProgramFault, check: func(t *testing.T, h *haunted) {
		err := filepath.WalkDir(h.Dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Base(path) == "x.sh" {
				return err
			}
			b, err := os.ReadFile(path)
			if bytes.Contains(b, []byte("a1B2c3D4a1B2c3D4")) {
				t.Errorf("the key is in %s", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		if !strings.Contains(h.output(t), "[redacted API key]") {
			t.Error("nothing says that something was taken out")
		}
	}},
	{name: "25 markup in names", program: `printf '%s\n' '{"score": 1, "<script>alert(1)</script>": 2, "$x^2\\input{/etc/passwd}": 3, "[a](javascript:b)": 4, "\u001b]0;x": 5, "${jndi:ldap://x}": 6}' >> "$RATCHET_METRICS"; echo x > "$RATCHET_OUTPUT/<img src=x onerror=alert(1)>.txt"; echo '</pre><script>alert(2)</script>' >&2`, want: research.Succeeded, check: func(t *testing.T, h *haunted) {
		for _, name := range []string{"report.html", "report.md"} {
			b, err := os.ReadFile(filepath.Join(h.Dir, "out", name))
			if err != nil {
				t.Error(err)
			}
			for _, bad := range []string{"<script>alert", "<img src=x", "\x1b", "[a](javascript:b)" + map[string]string{"report.html": "</a>"}[name]} {
				if bytes.Contains(b, []byte(bad)) {
					t.Errorf("%s has %q", name, bad)
				}
			}
		}
	}},
	{name: "26 cannot be executed", program: `exec ./data`, want: research.ProgramFault},
	{name: "27 files", program: python("x=[open('/dev/null') for _ in range(100000)]"), want: research.Resource, says: "Too many open files"},
	{name: "27 threads", program: python("import threading, time\nfor _ in range(100000): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()"), want: research.Resource},
	{name: "28 a child that writes on", program: `(while :; do echo '{"score": 99}' >> "$RATCHET_METRICS"; done) & sleep 0.05; kill -STOP $!; echo >> "$RATCHET_METRICS"; ` + score + `kill -CONT $!`, want: research.Succeeded},
	{name: "29 works the third time", program: `[ "$RATCHET_ATTEMPT" -lt 3 ] && exit 1; ` + score, want: research.Succeeded, tries: 3},
	{name: "30 depends on the time", program: `echo "{\"score\": $(date +%s%N)}" >> "$RATCHET_METRICS"`, want: research.Succeeded, check: func(t *testing.T, h *haunted) {
		b, err := os.ReadFile(filepath.Join(h.Dir, "out", "report.md"))
		if h.state.Again == nil || h.state.Again.Reproduces || err != nil || !strings.Contains(string(b), "Reproduction of") {
			t.Errorf("it is said to reproduce: %+v (%v)", h.state.Again, err)
		}
	}},
}

// evidence is a file that the last attempt left, as it is kept.
func (h *haunted) evidence(t *testing.T, name string) string {
	t.Helper()
	tree, err := h.engine.Objects.Tree(objects.Digest(h.trial.Last().Evidence))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range tree {
		if f.Path == name {
			b, err := h.engine.Objects.Get(f.Digest)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
	}
	return ""
}

// running are the processes in whose command line a text is, its words
// separated by zero bytes.
func running(t *testing.T, text string) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, entry := range entries {
		var pid int
		if _, err := fmt.Sscan(entry.Name(), &pid); err != nil {
			continue
		}
		if b, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline")); err == nil && bytes.Contains(b, []byte(text)) {
			out = append(out, pid)
		}
	}
	return out
}

// leftOf are the processes that have a run in their environment.
func leftOf(run string) []string {
	var out []string
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte("RATCHET_RUN="+run+"\x00")) {
			out = append(out, f)
		}
	}
	return out
}

// TestHostilePrograms: each is contained. It ends with its class, nothing of
// it is left a second later, nothing outside has changed, its neighbour goes
// on unharmed, and the journal has one outcome for each attempt.
func TestHostilePrograms(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("python3"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("python3 is missing; install it")
		}
		t.Skip("python3 is missing: install the package python3 to try hostile programs")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("hunter2"), 0o666); err != nil {
		t.Fatal(err)
	}
	neighbour := enginetest.New(t, strings.ReplaceAll(enginetest.SmallStudy, "name: small", "name: neighbour"), `i=0; while [ $i -lt 20 ]; do sleep 0.05; i=$((i+1)); done; echo '{"score": 4}' >> "$RATCHET_METRICS"`+"\n")
	e := neighbour.Open(engine.Options{})
	stop := make(chan struct{})
	calm := make(chan error, 1)
	go func() {
		for {
			run := neighbour.Create(e)
			s, err := e.Drive(context.Background(), run, engine.DriveOptions{})
			if err == nil && s.Tally.Failed > 0 {
				err = fmt.Errorf("of the neighbour's trials %d failed", s.Tally.Failed)
			}
			if err == nil {
				err = os.RemoveAll(filepath.Join(neighbour.Dir, "out"))
			}
			select {
			case <-stop:
				calm <- err
				return
			default:
			}
			if err != nil {
				calm <- err
				return
			}
		}
	}()
	for _, p := range hostiles {
		if !p.sample && !proof.All() {
			continue
		}
		t.Run(p.name, func(t *testing.T) { haunt(t, p, outside, listener.Addr().(*net.TCPAddr).Port) })
	}
	close(stop)
	if err := <-calm; err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(outside, "secret")); err != nil || string(b) != "hunter2" {
		t.Errorf("the file outside is %q (%v)", b, err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("outside are %v (%v)", entries, err)
	}
}

func haunt(t *testing.T, p hostile, outside string, port int) {
	limits := map[string]string{"time": "30s", "memory": "64MiB", "disk": "10MiB", "grace": "1s", "processes": "200"}
	for pair := range strings.SplitSeq(p.limits, ", ") {
		if key, value, ok := strings.Cut(pair, ": "); ok {
			limits[key] = value
		}
	}
	var text []string
	for key, value := range limits {
		text = append(text, key+": "+value)
	}
	slices.Sort(text)
	study := fmt.Sprintf(`version: 1
name: hostile
program: {command: [sh, x.sh, "{seed}"], files: [x.sh], inputs: {data: data.txt}}
objective: {metric: score, goal: maximize}
search: {method: random, experiments: 1}
validation: {seeds: 2}
limits: {attempt: {%s}}
%s`, strings.Join(text, ", "), p.more)
	program := fmt.Sprintf("[ \"$1\" = %d ] && set -- 1\nexport OUTSIDE=%q PORT=%d\n%s", firstSeed, outside, port, p.program)
	h := &haunted{Lab: enginetest.New(t, study, program), outside: outside, port: port}
	h.engine = h.Open(engine.Options{})
	h.run = h.Create(h.engine)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if p.during != nil {
			p.during(t, h)
		}
	}()
	h.state = h.Drive(h.engine, h.run)
	<-done
	if h.state.Plan.Seeds[0] != firstSeed {
		t.Fatalf("the first seed is %d: the programs did no harm", h.state.Plan.Seeds[0])
	}
	h.trial = h.state.Trial(h.state.TrialID("e0001", firstSeed))
	last := h.trial.Last()
	if h.trial.Outcome != p.want || p.tries > 0 && len(h.trial.Attempts) != p.tries || !strings.Contains(last.Message, p.says) {
		t.Errorf("after %d attempts it is %s: %s (%s, exit %d %s) %v\n%s", len(h.trial.Attempts), h.trial.Outcome, last.Message, h.trial.Why, last.Exit, last.Signal, last.Notes, last.Words)
	}
	if p.check != nil {
		p.check(t, h)
	}
	h.nothingLeft(t)
}

func (h *haunted) nothingLeft(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(time.Second)
	left := leftOf(h.run)
	for len(left) > 0 && time.Now().Before(deadline) {
		left = leftOf(h.run)
	}
	if len(left) > 0 {
		t.Errorf("a second later there are %v", left)
	}
	if mounts, err := os.ReadFile("/proc/self/mounts"); err != nil || bytes.Contains(mounts, []byte(h.Dir)) {
		t.Errorf("something is still mounted (%v)", err)
	}
	attempts, err := os.ReadDir(filepath.Join(h.Home(), "runs", h.run, "attempts"))
	claims, err2 := filepath.Glob("/dev/shm/ratchet-*/*." + h.run + ".*")
	if err != nil || err2 != nil || len(attempts)+len(claims) > 0 {
		t.Errorf("there are attempts %v (%v) and claims %v (%v)", attempts, err, claims, err2)
	}
	outcomes := map[string]int{}
	for r, err := range h.engine.Journal.Read(context.Background(), journal.Of(h.run), 1) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Type == "attempt.ended" {
			outcomes[attemptOf(t, r)]++
		}
	}
	for id, n := range outcomes {
		if n != 1 {
			t.Errorf("attempt %s has %d outcomes", id, n)
		}
	}
}

func attemptOf(t *testing.T, r journal.Record) string {
	t.Helper()
	var p struct{ Action string }
	if err := json.Unmarshal(r.Payload, &p); err != nil {
		t.Fatal(err)
	}
	return p.Action
}
