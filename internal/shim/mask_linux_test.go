package shim

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ratchet/internal/sandbox"
)

// TestServicesOfTheMachine: in folders that a command sees, no socket can be
// connected to and no pipe read; files can.
func TestServicesOfTheMachine(t *testing.T) {
	input, needed := t.TempDir(), t.TempDir()
	dirs := []string{input, needed}
	if os.Getuid() == 0 { // only root may write there
		for _, dir := range []string{"/etc", "/opt"} {
			own, err := os.MkdirTemp(dir, "ratchet-test-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(own) })
			dirs = append(dirs, own)
		}
	}
	asked := make(chan string, 100)
	for _, dir := range dirs {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		sub := filepath.Join(dir, "sub")
		socket, pipe := filepath.Join(sub, "agent.sock"), filepath.Join(sub, "pipe")
		err := errors.Join(os.Mkdir(sub, 0o755), os.WriteFile(filepath.Join(sub, "file"), []byte("a file"), 0o644))
		// A program of another folder may have bound it by a path with links.
		link := filepath.Join(t.TempDir(), "link")
		if err = errors.Join(err, os.Symlink(sub, link)); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("unix", filepath.Join(link, "agent.sock"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				asked <- socket
				_, _ = c.Write([]byte("a service"))
				c.Close()
			}
		}()
		if err := os.Chmod(socket, 0o777); err != nil {
			t.Fatal(err)
		}
		if dir == needed {
			continue // pipes in an installation are not searched for
		}
		if err := errors.Join(syscall.Mkfifo(pipe, 0o666), os.Chmod(pipe, 0o666)); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(pipe, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		if _, err := f.WriteString("a pipe\n"); err != nil {
			t.Fatal(err)
		}
	}
	e, folder := strict(t, nil, func(s *sandbox.Spec) {
		s.Command = append([]string{"python3", "-c", `
import os, socket, sys
for d in ["in"] + sys.argv[1:]:
    print(d, open(d + "/sub/file").read())
    for how in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        try:
            s = socket.socket(socket.AF_UNIX, how); s.settimeout(3); s.connect(d + "/sub/agent.sock"); s.send(b"hi"); print("ANSWERED", s.recv(30))
        except OSError as e: print(e)
    if os.path.lexists(d + "/sub/pipe"):
        try: print("READ", os.read(os.open(d + "/sub/pipe", os.O_RDONLY | os.O_NONBLOCK), 30))
        except OSError as e: print(e)
`}, dirs[1:]...)
		s.Inputs = []sandbox.Bind{{Source: input, Target: "in", Hide: []string{"sub/pipe", "sub/gone"}}}
		s.ReadOnly = []string{needed}
	})
	out := output(t, folder)
	if n := strings.Count(out, "a file"); e.Exit != 0 || n != len(dirs) {
		t.Errorf("exit %d, %d files were read", e.Exit, n)
	}
	if strings.Contains(out, "ANSWERED") || strings.Contains(out, `b'a`) || len(asked) > 0 {
		t.Errorf("a service was reached (%d times):\n%s", len(asked), out)
	}
}
