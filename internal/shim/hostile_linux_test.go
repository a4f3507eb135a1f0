package shim

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ratchet/internal/sandbox"
	"ratchet/study"
)

// hostile is the program that the tests run in sandboxes: this test program,
// asked to do harm.
func hostile(what string, args []string) int {
	switch what {
	case "use": // memory in MiB, and some processor time, in a child
		if len(args) == 1 {
			c := exec.Command(os.Args[0], append(os.Args[1:], "child")...)
			c.Stdout = os.Stdout
			if err := c.Run(); err != nil {
				fmt.Println(err)
				return 1
			}
			return 0
		}
		n, _ := strconv.Atoi(args[0])
		b := touch(n << 20)
		used := func() float64 {
			var u unix.Rusage
			if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
				panic(err)
			}
			return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
		}
		for used() < 0.4 {
			b[0]++
		}
		fmt.Println(used())
	case "eat": // memory without end
		for {
			kept = append(kept, touch(16<<20))
		}
	case "eat in children":
		for range 10 {
			c := exec.Command(os.Args[0], "hostile", "use", "60", "child")
			if err := c.Start(); err != nil {
				fmt.Println(err)
			}
			children = append(children, c)
		}
		for _, c := range children {
			_ = c.Wait()
		}
	case "threads":
		for range 100_000 {
			go func() { runtime.LockOSThread(); select {} }()
		}
		time.Sleep(time.Minute)
	case "calls":
		return calls()
	case "foreign":
		return foreign()
	case "terminal":
		return terminal()
	case "signal":
		pid, _ := strconv.Atoi(args[0])
		fmt.Println(syscall.Kill(pid, syscall.SIGKILL))
	case "own loopback":
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fmt.Println(err)
			return 1
		}
		c, err := net.DialTimeout("tcp", l.Addr().String(), 2*time.Second)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		_ = c.Close()
	case "dial":
		c, err := net.DialTimeout(args[0], args[1], 2*time.Second)
		if err != nil {
			fmt.Println(err)
			return 0
		}
		fmt.Println("connected to", c.RemoteAddr())
		return 1
	}
	return 0
}

var (
	kept     [][]byte
	children []*exec.Cmd
)

func touch(n int) []byte {
	b := make([]byte, n)
	for i := 0; i < n; i += 4096 {
		b[i] = 1
	}
	return b
}

// calls tries what seccomp refuses and prints what came of it.
func calls() int {
	attr := make([]byte, 256)
	p := uintptr(unsafe.Pointer(&attr[0]))
	path := uintptr(unsafe.Pointer(&[]byte("/tmp\x00")[0]))
	for name, call := range map[string][]uintptr{
		"mount":         {unix.SYS_MOUNT, path, path, path, 0, 0},
		"umount2":       {unix.SYS_UMOUNT2, path, 0},
		"chroot":        {unix.SYS_CHROOT, path},
		"pivot_root":    {unix.SYS_PIVOT_ROOT, path, path},
		"unshare":       {unix.SYS_UNSHARE, unix.CLONE_NEWUSER},
		"setns":         {unix.SYS_SETNS, 0, 0},
		"clone":         {unix.SYS_CLONE, unix.CLONE_NEWUSER | uintptr(unix.SIGCHLD), 0, 0, 0, 0},
		"clone3":        {unix.SYS_CLONE3, p, 88},
		"init_module":   {unix.SYS_INIT_MODULE, p, 0, p},
		"finit_module":  {unix.SYS_FINIT_MODULE, 0, p, 0},
		"bpf":           {unix.SYS_BPF, 0, p, 128},
		"keyctl":        {unix.SYS_KEYCTL, 0, 0},
		"add_key":       {unix.SYS_ADD_KEY, p, p, p, 0, 0},
		"userfaultfd":   {unix.SYS_USERFAULTFD, 0},
		"io_uring":      {unix.SYS_IO_URING_SETUP, 8, p},
		"ptrace":        {unix.SYS_PTRACE, unix.PTRACE_TRACEME, 0, 0, 0},
		"perf":          {unix.SYS_PERF_EVENT_OPEN, p, 0, 0, ^uintptr(0), 0},
		"process_vm":    {unix.SYS_PROCESS_VM_READV, uintptr(os.Getpid()), p, 0, p, 0, 0},
		"kexec":         {unix.SYS_KEXEC_LOAD, 0, 0, 0, 0},
		"settimeofday":  {unix.SYS_SETTIMEOFDAY, p, 0},
		"fsopen":        {unix.SYS_FSOPEN, path, 0},
		"open_tree":     {unix.SYS_OPEN_TREE, 0, path, 1},
		"mount_setattr": {unix.SYS_MOUNT_SETATTR, 0, path, 0, p, 32},
		"personality":   {unix.SYS_PERSONALITY, 0x0040000}, // ADDR_NO_RANDOMIZE
		"memfd_secret":  {unix.SYS_MEMFD_SECRET, 0},
		"statmount":     {unix.SYS_STATMOUNT, p, p, 128, 0},
		"listmount":     {unix.SYS_LISTMOUNT, p, p, 1, 0},
		"newest":        {499},
		"x32":           {1<<30 | 39}, // getpid, on amd64
		"madvise":       {unix.SYS_PROCESS_MADVISE, 0, p, 1, 20, 0},
		"netlink":       {unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT},
		"audit":         {unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT},
		"packet":        {unix.SYS_SOCKET, unix.AF_PACKET, unix.SOCK_RAW, 0},
		"alg":           {unix.SYS_SOCKET, unix.AF_ALG, unix.SOCK_SEQPACKET, 0},
		"vsock":         {unix.SYS_SOCKET, unix.AF_VSOCK, unix.SOCK_STREAM, 0},
		"by_handle":     {unix.SYS_OPEN_BY_HANDLE_AT, 0, p, 0},
		"swapon":        {unix.SYS_SWAPON, path, 0},
		"reboot":        {unix.SYS_REBOOT, 0, 0, 0, 0},
		"acct":          {unix.SYS_ACCT, path},
	} {
		for len(call) < 7 {
			call = append(call, 0)
		}
		_, _, errno := syscall.RawSyscall6(call[0], call[1], call[2], call[3], call[4], call[5], call[6])
		fmt.Println(name, errno == unix.EPERM, errno)
	}
	return 0
}

// terminal tries to type into a terminal, and prints what succeeded.
func terminal() int {
	names := []string{"/dev/tty", "/dev/console", "/dev/ptmx"}
	pts, _ := filepath.Glob("/dev/pts/*")
	files := []*os.File{os.Stdin, os.Stdout, os.Stderr}
	for _, name := range append(append(names, pts...), "/dev/tty0", "/dev/vcs") {
		if f, err := os.OpenFile(name, os.O_RDWR, 0); err == nil {
			fmt.Println("opened", name)
			files = append(files, f)
		}
	}
	for _, f := range files {
		for _, request := range []uintptr{unix.TIOCSTI, unix.TIOCSCTTY, unix.TIOCLINUX} {
			typed := byte('x')
			if _, _, errno := syscall.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(&typed))); errno == 0 {
				fmt.Printf("request %#x to %s\n", request, f.Name())
			}
		}
	}
	fmt.Println("tried")
	return 0
}

// foreign does a system call by the 32-bit interface of a 64-bit x86 kernel,
// whose numbers are others: getpid, and prints what it gave.
func foreign() int {
	code := []byte{0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0x48, 0x98, 0xc3} // mov $20, %eax; int $0x80; cltq; ret
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	copy(page, code)
	entry := &page[0]
	function := &entry // what a function value points to
	fmt.Println(int((*(*func() uintptr)(unsafe.Pointer(&function)))()))
	return 0
}

// strict runs this program's hostile side under strict isolation.
func strict(t *testing.T, args []string, change ...func(*sandbox.Spec)) (Ending, string) {
	t.Helper()
	h, folder := begin(t, sandbox.Strict, append([]string{"./hostile", "hostile"}, args...), append(change, myself)...)
	e := wait(t, h)
	if e.SetUp != "" {
		t.Fatalf("set-up: %s", e.SetUp)
	}
	return e, folder
}

func TestPrivilegesAreGone(t *testing.T) {
	_, folder := attempt(t, sandbox.Strict, "id -u; grep -E '^(Cap|NoNew|Seccomp:)' /proc/self/status; cat /proc/sys/kernel/hostname 2>/dev/null || hostname")
	out := output(t, folder)
	for _, line := range []string{"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(out, line) {
			t.Errorf("no %q in %s", line, out)
		}
	}
	if strings.HasPrefix(out, "0\n") {
		t.Error("the command is root")
	}
	if !strings.HasSuffix(out, "ratchet\n") {
		t.Error("the command sees the machine's name")
	}
}

// TestNothingIsHandedDown: no file of the engine's or the shim's is open in the
// command, not even one that was left open for all children; and the
// first process, which has some, cannot be looked into, traced or ended.
func TestNothingIsHandedDown(t *testing.T) {
	f, err := os.Open("/etc/hostname")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const left = 77
	if err := unix.Dup3(int(f.Fd()), left, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(left)
	for _, level := range levels {
		_, folder := attempt(t, level, `for f in /proc/$$/fd/*; do echo "${f##*/}"; done`)
		got := strings.Fields(output(t, folder))
		got = slices.DeleteFunc(got, func(fd string) bool { return fd == "3" }) // the shell's own, for the folder
		if !slices.Equal(got, []string{"0", "1", "2"}) {
			t.Errorf("%s: open files %v", level, got)
		}
	}
	_, folder := attempt(t, sandbox.Strict, `ls /proc/1/fd/ && echo LISTED; cat /proc/1/mem /proc/1/environ /proc/1/maps && echo READ
ls /proc/1/root/ /proc/1/cwd/ && echo WALKED; kill -KILL 1; kill -STOP 1; sleep 0.1; echo alive`)
	if got := output(t, folder); strings.Contains(got, "LISTED") || strings.Contains(got, "READ") || strings.Contains(got, "WALKED") || !strings.Contains(got, "alive") {
		t.Errorf("%s", got)
	}
}

func TestCallsAreRefused(t *testing.T) {
	e, folder := strict(t, []string{"calls"})
	for _, name := range []string{"mount", "chroot", "bpf", "init_module", "setns"} {
		if !slices.Contains(e.Refused, name) {
			t.Errorf("%s was not noticed: %v", name, e.Refused)
		}
	}
	lines := strings.Split(strings.TrimSpace(output(t, folder)), "\n")
	if len(lines) < 26 {
		t.Errorf("only %d calls were tried", len(lines))
	}
	for _, line := range lines {
		f := strings.Fields(line)
		refused := len(f) > 1 && f[1] == "true"
		if len(f) > 0 && (f[0] == "newest" || f[0] == "x32" || f[0] == "clone3") {
			refused = strings.Contains(line, "function not implemented")
		}
		if !refused {
			t.Errorf("not refused: %s", line)
		}
	}
}

// TestForeignCallsAreRefused: the filter is not got round by system calls of
// another architecture, whose numbers mean other calls.
func TestForeignCallsAreRefused(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the program is in the machine code of amd64")
	}
	e, folder := strict(t, []string{"foreign"})
	got := strings.TrimSpace(output(t, folder))
	if refused := got == strconv.Itoa(-int(unix.EPERM)); !refused && e.Signal == "" && e.Exit == 0 {
		t.Errorf("getpid by the 32-bit interface gives %s", got)
	}
	t.Logf("it gives %.60s (%s)", got, e.Signal)
}

// TestNothingElseIsWritable: every way to write outside is refused, and
// nothing outside has changed.
func TestNothingElseIsWritable(t *testing.T) {
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("untouched"), 0o666); err != nil {
		t.Fatal(err)
	}
	script := `
for f in /x /usr/x /etc/x /etc/passwd /bin/sh /dev/x /dev/null/x /proc/sys/kernel/hostname /ratchet/../x /proc/self/root/x /proc/1/root/x \
  "$SECRET" "/proc/self/root$SECRET" ../../../x /run/x /var/tmp/x /sys/x /ratchet/x/../../x; do
  if echo harm > "$f"; then echo "WROTE $f"; fi
done 2>/dev/null
ln -s "$SECRET" link; if echo harm > link; then echo "WROTE link"; fi
ln /etc/passwd hard 2>/dev/null && echo "LINKED /etc/passwd"
ln ../../input hard2 2>/dev/null && echo "LINKED input"
if echo harm > input; then echo "WROTE input"; fi 2>/dev/null
chmod 777 input 2>/dev/null && echo "CHMOD input"
echo fine > file && echo fine > /tmp/file && echo fine > ../output/file && echo fine > ../checkpoint/file && echo "OWN FOLDERS"`
	_, folder := attempt(t, sandbox.Strict, script, func(s *sandbox.Spec) {
		s.Env = append(s.Env, "SECRET="+secret)
		s.Inputs = []sandbox.Bind{{Source: secret, Target: "input"}}
	})
	got := output(t, folder)
	if !strings.Contains(got, "OWN FOLDERS") || strings.Contains(got, "WROTE") || strings.Contains(got, "LINKED") || strings.Contains(got, "CHMOD") {
		t.Errorf("%s", got)
	}
	if b, err := os.ReadFile(secret); err != nil || string(b) != "untouched" {
		t.Errorf("the file outside is now %q (%v)", b, err)
	}
	for _, f := range []string{"/x", "/usr/x", "/etc/x", "/dev/x"} {
		if _, err := os.Lstat(f); err == nil {
			t.Errorf("%s is there", f)
		}
	}
}

// TestNothingElseIsReadable: homes, other temporary files, the engine's
// folders and other processes are not there to be seen.
func TestNothingElseIsReadable(t *testing.T) {
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hunter2"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SECRET_OF_THE_ENGINE", "hunter2")
	_, folder := attempt(t, sandbox.Strict, `
cat "$SECRET" /proc/*/environ /root/.ssh/* ~/.ssh/* 2>/dev/null | grep -a hunter2
ls -d /root "`+home+`" /home /var/lib /srv /mnt /boot 2>/dev/null
ls /proc | grep -c '^[0-9]'
cat /proc/1/environ /proc/1/cmdline 2>/dev/null | tr '\0' ' '; ls -l /proc/1/fd 2>/dev/null | wc -l`, func(s *sandbox.Spec) { s.Env = append(s.Env, "SECRET="+secret) })
	out := output(t, folder)
	if strings.Contains(out, "hunter2") || strings.Contains(out, "/root") || strings.Contains(out, home) || strings.Contains(out, "/var/lib") {
		t.Errorf("%s", out)
	}
	if n, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(out, "\n", 2)[0])); err != nil || n > 8 {
		t.Errorf("it sees %d processes (%v): %s", n, err, out)
	}
}

// TestNoTerminalIsTypedInto: there is no terminal to be had, neither from the
// engine's session nor by a device.
func TestNoTerminalIsTypedInto(t *testing.T) {
	if _, folder := strict(t, []string{"terminal"}); output(t, folder) != "tried\n" {
		t.Errorf("%s", output(t, folder))
	}
}

// TestPermissionsHold: what only its owner may read stays so,
// also where the folder is shown; and no device is there but those that any
// program needs.
func TestPermissionsHold(t *testing.T) {
	dir := t.TempDir()
	theirs := filepath.Join(dir, "theirs")
	if err := os.WriteFile(theirs, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	script := `exec 2>/dev/null
cat /etc/shadow /etc/gshadow /etc/sudoers /etc/ssh/ssh_host_*_key >/dev/null && echo "READ what is root's"
for d in /dev/mem /dev/kmem /dev/port /dev/kmsg /dev/sda /dev/nvme0n1 /dev/vda /dev/loop0 /dev/loop-control /dev/fuse /dev/kvm /dev/net/tun /dev/mapper/control; do
  [ -e $d ] && echo "THERE $d"
done
mknod /tmp/null c 1 3 && echo MADE
mknod sda b 8 0 && echo MADE
cat given/theirs && echo READ
echo done`
	_, folder := attempt(t, sandbox.Strict, script, func(s *sandbox.Spec) {
		if os.Getuid() == 0 {
			s.Inputs = []sandbox.Bind{{Source: dir, Target: "given"}} // to another user it is its own
		}
	})
	if got := output(t, folder); got != "done\n" {
		t.Errorf("%s", got)
	}
}

// TestNoNetwork: neither the machine's loopback, nor the world, nor abstract
// sockets of the machine; its own loopback works.
func TestNoNetwork(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	name := fmt.Sprintf("@ratchet-test-%d", os.Getpid())
	local, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	for _, to := range [][]string{{"tcp", tcp.Addr().String()}, {"tcp", "169.254.169.254:80"}, {"tcp", "[2606:4700:4700::1111]:53"}, {"unix", name}} {
		if e, folder := strict(t, append([]string{"dial"}, to...)); e.Exit != 0 {
			t.Errorf("%s: %s", to[1], output(t, folder))
		}
	}
	if e, folder := strict(t, []string{"own loopback"}); e.Exit != 0 {
		t.Errorf("its own loopback: %s", output(t, folder))
	}
	_, folder := attempt(t, sandbox.Strict, `cat /proc/net/dev | grep -c :`)
	if got := strings.TrimSpace(output(t, folder)); got != "1" {
		t.Errorf("it sees %s network devices", got)
	}
	e, _ := strict(t, []string{"dial", "tcp", tcp.Addr().String()}, func(s *sandbox.Spec) { s.Limits.Network = study.NetworkHost })
	if e.Exit != 1 {
		t.Error("with network: host it cannot reach the machine's loopback")
	}
}

func TestOtherProcessesAreOutOfReach(t *testing.T) {
	for _, pid := range []int{os.Getpid(), os.Getppid()} {
		_, folder := strict(t, []string{"signal", strconv.Itoa(pid)})
		if got := output(t, folder); !strings.Contains(got, "no such process") {
			t.Errorf("killing process %d: %s", pid, got)
		}
	}
	h, _ := begin(t, sandbox.Strict, []string{"sleep", "100"})
	e, _ := attempt(t, sandbox.Strict, "kill -9 -1; exit 0") // all it can see: itself
	if e.EndedBy != ByItself {
		t.Errorf("%+v", e)
	}
	if !Live(h.folder) {
		t.Error("another attempt is gone")
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	for _, level := range levels {
		for _, how := range []string{"eat", "eat in children"} {
			h, _ := begin(t, level, []string{"./hostile", "hostile", how}, myself, func(s *sandbox.Spec) { s.Limits.Memory = 200 << 20 })
			e := wait(t, h)
			if e.EndedBy != ByMemory && !e.OOMKilled {
				t.Errorf("%s, %s: %+v", level, how, e)
			}
			if e.Memory < 150<<20 {
				t.Errorf("%s, %s: the peak was %d bytes", level, how, e.Memory)
			}
		}
	}
}

func TestDisk(t *testing.T) {
	t.Parallel()
	for _, level := range levels {
		for name, script := range map[string]string{
			// It pauses, so that the quickest machine gets not far over the limit.
			"small files": `i=0; while :; do head -c 40000 /dev/zero > f$i || exit 1; i=$((i+1)); sleep 0.005; done`,
			"one file":    `head -c 1000000000 /dev/zero > f`,
			"/tmp":        `i=0; while :; do head -c 100000 /dev/zero > $T/f$i || exit 1; i=$((i+1)); sleep 0.005; done`,
			"sparse":      `truncate -s 1T f`,
		} {
			e, _ := attempt(t, level, script, func(s *sandbox.Spec) {
				s.Limits.Disk = 8 << 20
				s.Env = append(s.Env, "T="+map[sandbox.Isolation]string{sandbox.Strict: "/tmp", sandbox.Process: "."}[level])
			})
			if e.EndedBy != ByDisk && e.Signal != "SIGXFSZ" && e.Exit == 0 {
				t.Errorf("%s, %s: %+v", level, name, e)
			}
			if e.Disk > 64<<20 {
				t.Errorf("%s, %s: %d bytes are used", level, name, e.Disk)
			}
		}
	}
}

func TestForkBomb(t *testing.T) {
	t.Parallel()
	patiently(t, time.Second, func(limit time.Duration) string {
		e, folder := attempt(t, sandbox.Strict, `b() { b | b & b; }; b; wait`, func(s *sandbox.Spec) { s.Limits.Time = study.Duration(limit); s.Limits.Processes = 50 })
		for _, p := range everyProcess(t) {
			if cwd, err := os.Readlink(filepath.Join("/proc", p, "cwd")); err == nil && strings.HasPrefix(cwd, folder) {
				t.Errorf("process %s is left", p)
			}
		}
		if out := output(t, folder); e.Exit == 0 && e.EndedBy == ByItself || !strings.Contains(out, "fork") {
			return fmt.Sprintf("no word of a fork that failed: %+v %.200s", e, out)
		}
		return ""
	})
}

func TestThreadsAndDescriptors(t *testing.T) {
	if e, folder := strict(t, []string{"threads"}); e.Exit == 0 {
		t.Errorf("100,000 threads: %+v %.300s", e, output(t, folder))
	}
	_, folder := attempt(t, sandbox.Strict, "ulimit -n; ulimit -c; ulimit -n 100000 || echo refused")
	if got := output(t, folder); !strings.HasPrefix(got, "4096\n0\n") || !strings.Contains(got, "refused") {
		t.Errorf("limits of files and core: %s", got)
	}
}

// TestProcessorShare: a program that spins on every processor gets no more
// than its share, by control groups where there are any, else by being stopped
// now and then.
func TestProcessorShare(t *testing.T) {
	for _, level := range levels {
		for _, share := range []float64{0.5, 1} {
			t.Run(fmt.Sprintf("%s %v", level, share), func(t *testing.T) {
				t.Parallel()
				// By being stopped it is held to its share on the average: what it got too
				// much before it was looked at counts less over a longer time.
				patiently(t, 2*time.Second, func(limit time.Duration) string {
					e, _ := attempt(t, level, "for i in 1 2 3 4; do (while :; do :; done) & done; wait", func(s *sandbox.Spec) {
						s.Limits.Time, s.Limits.CPUs, s.Limits.Grace = study.Duration(limit), share, study.Duration(100*time.Millisecond)
					})
					if used := e.CPU / e.Wall; used > share+0.25 || used <= 0 {
						return fmt.Sprintf("it had %.2f of a processor, %.2f are allowed", used, share)
					}
					return ""
				})
			})
		}
	}
}

// TestStoppedButAlive: a program that is held to its share hears that it shall
// end.
func TestStoppedButAlive(t *testing.T) {
	t.Parallel()
	var h throttle
	now := time.Now()
	h.enforce(os.Getpid(), 1, 0, now)
	if h.enforce(os.Getpid(), 1, 5, now.Add(time.Second)); !h.stopped {
		t.Error("five seconds in one, and it goes on")
	}
	if h.enforce(os.Getpid(), 1, 5, now.Add(10*time.Second)); h.stopped {
		t.Error("its share has caught up, and it stands still")
	}
	for _, level := range levels {
		patiently(t, time.Second, func(limit time.Duration) string {
			e, folder := attempt(t, level, "trap 'echo heard; exit 0' TERM; while :; do :; done", func(s *sandbox.Spec) {
				s.Limits.Time, s.Limits.CPUs, s.Limits.Grace = study.Duration(limit), 0.2, study.Duration(5*limit)
			})
			if e.EndedBy != ByTime || output(t, folder) != "heard\n" {
				return fmt.Sprintf("%s: %+v %s", level, e, output(t, folder))
			}
			return ""
		})
	}
}

// TestAnInterpreterSomewhereElse: a folder outside the system, in a home or in
// /tmp, is seen where it is, and cannot be changed.
func TestAnInterpreterSomewhereElse(t *testing.T) {
	elsewhere, err := os.MkdirTemp("/var/tmp", "ratchet-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(elsewhere)
	for _, dir := range []string{filepath.Join(t.TempDir(), "bin"), filepath.Join(elsewhere, "bin")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "python9"), []byte("#!/bin/sh\necho hello from $0; echo harm > $(dirname $0)/x\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		_, folder := attempt(t, sandbox.Strict, filepath.Join(dir, "python9"), func(s *sandbox.Spec) { s.ReadOnly = []string{dir} })
		if got := output(t, folder); !strings.Contains(got, "hello from "+dir) {
			t.Errorf("in %s: %s", dir, got)
		}
		if _, err := os.Stat(filepath.Join(dir, "x")); err == nil {
			t.Errorf("%s was written to", dir)
		}
	}
}

func TestAbilitiesAreSaid(t *testing.T) {
	for _, a := range Abilities() {
		if a.Name == "" || a.Detail == "" {
			t.Errorf("%+v says nothing", a)
		}
		t.Logf("%s: %v, %s", a.Name, a.Has, a.Detail)
	}
	if err := Probe(sandbox.Strict); err != nil {
		t.Error(err)
	}
}
