package sandbox

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ratchet/study"
)

// echo answers each line on a Unix socket with a word in front of it.
func echo(t *testing.T, socket, word string) (stop func()) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			line, err := bufio.NewReader(c).ReadString('\n')
			if err == nil {
				fmt.Fprintf(c, "%s %s", word, line)
			}
			c.Close()
		}
	}()
	return func() { l.Close(); <-done }
}

// say connects to $DOOR, says a word and prints the answer.
const say = `
import os, socket, sys
host, port = os.environ["DOOR"].split(":")
for word in sys.argv[1:]:
    with socket.create_connection((host, int(port))) as s:
        s.sendall((word + "\n").encode())
        print(s.makefile().readline().strip(), flush=True)
`

func TestADoorLeadsOut(t *testing.T) {
	for _, level := range levels {
		for _, network := range []string{study.NetworkNone, study.NetworkHost} {
			t.Run(string(level)+" "+network, func(t *testing.T) {
				socket := filepath.Join(t.TempDir(), "s")
				stop := echo(t, socket, "first")
				h, folder := begin(t, level, []string{"python3", "-c", say, "one", "two"}, func(s *Spec) {
					s.Limits.Network = network
					s.Door = &Door{Socket: socket, Env: []string{"DOOR=ADDRESS"}}
				})
				e := wait(t, h)
				stop()
				if out := output(t, folder); e.Exit != 0 || out != "first one\nfirst two\n" {
					t.Errorf("exit %d: %s", e.Exit, out)
				}
			})
		}
	}
}

// TestADoorWaitsForWhoIsBehindIt: who listens behind the door may come later,
// and come anew.
func TestADoorWaitsForWhoIsBehindIt(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	h, folder := begin(t, Strict, []string{"python3", "-c", say, "one", "two"}, func(s *Spec) {
		s.Door = &Door{Socket: socket, Env: []string{"DOOR=ADDRESS"}}
	})
	eventually(t, "the command runs", func() bool { return Live(folder) })
	stop := echo(t, socket, "late")
	eventually(t, "the first answer", func() bool {
		b, err := os.ReadFile(Stdout(folder))
		return err == nil && strings.Contains(string(b), "one")
	})
	stop()
	defer echo(t, socket, "late")()
	if e := wait(t, h); e.Exit != 0 {
		t.Errorf("exit %d", e.Exit)
	}
	if out := output(t, folder); out != "late one\nlate two\n" {
		t.Errorf("it printed %q", out)
	}
}

// TestADoorIsTheOnlyWay: whatever else the command tries to reach, it does not.
func TestADoorIsTheOnlyWay(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket := filepath.Join(t.TempDir(), "s")
	defer echo(t, socket, "x")()
	e, folder := attempt(t, Strict, fmt.Sprintf("echo hi | python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", %d))'; ls %s", l.Addr().(*net.TCPAddr).Port, socket), func(s *Spec) {
		s.Door = &Door{Socket: socket}
	})
	if out := output(t, folder); !strings.Contains(out, "Connection refused") || e.Exit == 0 {
		t.Errorf("exit %d: %s", e.Exit, out)
	}
}
