package shim

import (
	"testing"
	"time"

	"ratchet/internal/sandbox"
	"ratchet/internal/untrusted"
	"ratchet/study"
)

// TestNamelessMemory: memory that only open or mapped files stand for counts,
// wherever it lies.
func TestNamelessMemory(t *testing.T) {
	t.Parallel()
	for name, program := range map[string]string{
		"memfds": `
fds = [os.memfd_create("x%d" % i) for i in range(6)]
for fd in fds:
    for _ in range(50): os.write(fd, b"x" * (1 << 20))
`,
		"a memfd that is mapped and closed": `
fd = os.memfd_create("x"); os.ftruncate(fd, 300 << 20)
for _ in range(300): os.write(fd, b"x" * (1 << 20))
m = mmap.mmap(fd, 300 << 20); os.close(fd)
`,
		"files in /dev/shm": `
for i in range(6):
    with open("/dev/shm/%d" % i, "wb") as f: f.write(b"x" * (16 << 20))
m = os.memfd_create("x")
for _ in range(60): os.write(m, b"x" * (1 << 20))
`,
	} {
		h, _ := begin(t, sandbox.Strict, []string{"python3", "-c", "import mmap, os, time\n" + program + "print('holds', flush=True)\ntime.sleep(600)"}, func(s *sandbox.Spec) {
			s.Limits.Memory, s.Limits.Disk, s.Limits.Time = 100<<20, 1<<30, study.Duration(10*time.Minute)
		})
		if e := wait(t, h); e.EndedBy != ByMemory && !e.OOMKilled && e.Signal == "" && e.Exit == 0 {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// TestNamelessDisk: so do files that were removed while they are open or mapped,
// and such in folders that their owner has locked.
func TestNamelessDisk(t *testing.T) {
	t.Parallel()
	for _, level := range levels {
		for name, program := range map[string]string{
			"removed": `
fds = []
for i in range(20):
    fds.append(os.open("f", os.O_CREAT | os.O_WRONLY | os.O_EXCL)); os.unlink("f")
for fd in fds:
    for _ in range(4): os.write(fd, b"x" * (1 << 20))
`,
			"removed, mapped and closed": `
maps = []
for i in range(20):
    fd = os.open("f", os.O_CREAT | os.O_RDWR | os.O_EXCL); os.unlink("f")
    for _ in range(4): os.write(fd, b"x" * (1 << 20))
    maps.append(mmap.mmap(fd, 4 << 20)); os.close(fd)
`,
			"in a locked folder": `
os.mkdir("d"); fds = [os.open("d/f%d" % i, os.O_CREAT | os.O_WRONLY) for i in range(20)]
os.chmod("d", 0)
for fd in fds:
    for _ in range(4): os.write(fd, b"x" * (1 << 20))
    os.close(fd)
`,
			"nested too deep": `
for _ in range(400): os.mkdir("d" * 50); os.chdir("d" * 50)
`,
		} {
			h, _ := begin(t, level, []string{"python3", "-c", "import mmap, os, time\n" + program + "print('holds', flush=True)\ntime.sleep(600)"}, func(s *sandbox.Spec) {
				s.Limits.Memory, s.Limits.Disk, s.Limits.Time = 1<<30, 8<<20, study.Duration(10*time.Minute)
			})
			t.Cleanup(func() { _ = untrusted.RemoveAll(h.folder) })
			if e := wait(t, h); e.EndedBy != ByDisk && e.EndedBy != ByDepth {
				t.Errorf("%s, %s: %+v", level, name, e)
			}
		}
	}
}
