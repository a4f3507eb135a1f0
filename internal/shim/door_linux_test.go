package shim

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"ratchet/internal/sandbox"
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
				h, folder := begin(t, level, []string{"python3", "-c", say, "one", "two"}, func(s *sandbox.Spec) {
					s.Limits.Network = network
					s.Door = &sandbox.Door{Socket: socket, Env: []string{"DOOR=ADDRESS"}}
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
	h, folder := begin(t, sandbox.Strict, []string{"python3", "-c", say, "one", "two"}, func(s *sandbox.Spec) {
		s.Door = &sandbox.Door{Socket: socket, Env: []string{"DOOR=ADDRESS"}}
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
	e, folder := attempt(t, sandbox.Strict, fmt.Sprintf("echo hi | python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", %d))'; ls %s", l.Addr().(*net.TCPAddr).Port, socket), func(s *sandbox.Spec) {
		s.Door = &sandbox.Door{Socket: socket}
	})
	if out := output(t, folder); !strings.Contains(out, "Connection refused") || e.Exit == 0 {
		t.Errorf("exit %d: %s", e.Exit, out)
	}
}

// asks posts a body to the door and prints what it gets, or how that failed.
const asks = `
import http.client, os, sys
c = http.client.HTTPConnection(os.environ["DOOR"])
for i in range(int(sys.argv[1])):
    try:
        c.request(sys.argv[2], (sys.argv[4:] or ["/x"])[0], body=("%d" % i) * int(sys.argv[3]))
        r = c.getresponse()
        body = r.read().decode()
        print(r.status, len(body), body[:1], flush=True)
    except Exception as e:
        print(type(e).__name__, flush=True)
        c.close()
`

// TestAnEngineThatDiesIsNotSeen: a request that was not answered when the
// process behind the door died is made again, of the next; one that was, in
// part, is not.
func TestAnEngineThatDiesIsNotSeen(t *testing.T) {
	dies := func(said string) func(c net.Conn) {
		return func(c net.Conn) {
			fmt.Fprint(c, said)
			c.Close()
		}
	}
	for _, c := range []struct {
		name  string
		args  []string
		first func(c net.Conn) // instead of the first answer
		want  string
		asked int
	}{
		{"no answer", []string{"2", "POST", "3"}, dies(""), "200 3 0\n200 3 1\n", 3},
		{"no answer to much", []string{"1", "POST", "3000000"}, dies(""), "200 3000000 0\n", 2},
		{"too much to keep", []string{"1", "POST", "17000000"}, dies(""), "RemoteDisconnected\n", 1},
		{"half an answer", []string{"1", "POST", "3"}, dies("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), "IncompleteRead\n", 1},
		{"something to be changed elsewhere", []string{"1", "POST", "3", "http://elsewhere.example/x"}, dies(""), "RemoteDisconnected\n", 1},
		{"something to be read elsewhere", []string{"1", "GET", "3", "http://elsewhere.example/x"}, dies(""), "200 3 0\n", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "s")
			l, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			var asked atomic.Int64
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					return
				}
				if asked.Add(1) == 1 {
					if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
						c.first(conn)
					}
					return
				}
				_, _ = w.Write(body)
			})}
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = server.Serve(l)
			}()
			defer func() {
				server.Close()
				<-done
			}()
			h, folder := begin(t, sandbox.Strict, append([]string{"python3", "-c", asks}, c.args...), func(s *sandbox.Spec) {
				s.Door = &sandbox.Door{Socket: socket, Env: []string{"DOOR=ADDRESS"}}
			})
			e := wait(t, h)
			if out := output(t, folder); e.Exit != 0 || out != c.want || int(asked.Load()) != c.asked {
				t.Errorf("exit %d: %q, asked %d times", e.Exit, out, asked.Load())
			}
		})
	}
}

// TestATunnelIsCut: what goes through a tunnel is nothing that can be made
// again.
func TestATunnelIsCut(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan int, 1)
	go func() {
		n := 0
		for {
			c, err := l.Accept()
			if err != nil {
				accepted <- n
				return
			}
			n++
			r := bufio.NewReader(c)
			_, _ = r.ReadString('\n') // CONNECT …
			_, _ = r.ReadString('\n')
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n")
			_, _ = r.ReadString('\n') // what is in the tunnel
			c.Close()
		}
	}()
	const tunnel = `
import os, socket
host, port = os.environ["DOOR"].split(":")
s = socket.create_connection((host, int(port)))
s.sendall(b"CONNECT x:443 HTTP/1.1\r\n\r\n")
s.recv(100)
s.sendall(b"GET / HTTP/1.1\r\n\r\n")
print(len(s.recv(100)))
`
	h, folder := begin(t, sandbox.Strict, []string{"python3", "-c", tunnel}, func(s *sandbox.Spec) {
		s.Door = &sandbox.Door{Socket: socket, Env: []string{"DOOR=ADDRESS"}}
	})
	e := wait(t, h)
	l.Close()
	if n := <-accepted; e.Exit != 0 || output(t, folder) != "0\n" || n != 1 {
		t.Errorf("exit %d: %q, %d connections", e.Exit, output(t, folder), n)
	}
}

// TestWhoLeavesIsNotAskedFor: a program that gives up and asks once more while
// there is no listener has asked once, whether its first request had been
// passed on or not.
func TestWhoLeavesIsNotAskedFor(t *testing.T) {
	t.Parallel()
	const impatient = `
import http.client, os, sys
for i in range(3):
    c = http.client.HTTPConnection(os.environ["DOOR"], timeout=0.2 if i < 2 else 300)
    try:
        c.request("POST", "/x", body="hello")
        r = c.getresponse()
        print(r.status, r.read().decode(), flush=True)
    except Exception as e:
        print("gave up", flush=True)
    c.close()
`
	for _, passedOn := range []bool{false, true} {
		socket := filepath.Join(t.TempDir(), "s")
		if passedOn {
			l, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			dies := make(chan struct{})
			go func() {
				defer close(dies)
				if c, err := l.Accept(); err == nil {
					_, _ = http.ReadRequest(bufio.NewReader(c))
					l.Close() // it has no successor
					c.Close()
				}
			}()
			defer func() { l.Close(); <-dies }()
		}
		h, folder := begin(t, sandbox.Strict, []string{"python3", "-c", impatient}, func(s *sandbox.Spec) {
			s.Door = &sandbox.Door{Socket: socket, Env: []string{"DOOR=ADDRESS"}}
		})
		eventually(t, "it has given up twice", func() bool {
			b, err := os.ReadFile(Stdout(folder))
			return err == nil && strings.Count(string(b), "gave up") == 2
		})
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		var asked atomic.Int64
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			_, _ = io.Copy(w, r.Body)
		})}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = server.Serve(l)
		}()
		e := wait(t, h)
		server.Close()
		<-done
		if out := output(t, folder); e.Exit != 0 || out != "gave up\ngave up\n200 hello\n" || asked.Load() != 1 {
			t.Errorf("passed on: %t: exit %d, %q, asked %d times", passedOn, e.Exit, out, asked.Load())
		}
	}
}
