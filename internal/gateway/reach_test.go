package gateway

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

func TestOnInternet(t *testing.T) {
	for _, a := range []string{"1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"} {
		if !onInternet(netip.MustParseAddr(a).Unmap()) {
			t.Errorf("%s is said not to be on the internet", a)
		}
	}
	closed := []string{
		"127.0.0.1", "127.8.9.10", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "198.18.0.1", "224.0.0.1", "255.255.255.255",
		"::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::1", "::127.0.0.1", "fec0::1",
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range own {
		closed = append(closed, netip.MustParsePrefix(a.String()).Addr().String())
	}
	for _, a := range closed {
		if onInternet(netip.MustParseAddr(a).Unmap()) {
			t.Errorf("%s is said to be on the internet", a)
		}
	}
}

func TestWhatToolsAllow(t *testing.T) {
	tools := Tools{Hosts: []string{"*.example.org", "exact.net:8443", "any.net:*", "127.0.0.1", "[::1]:99", "LOCALHOST", "10.0.0.0/8"}}
	for at, want := range map[string]bool{
		"a.example.org 443": true, "A.EXAMPLE.org 80": true, "a.example.org 22": false, "example.org 443": false, "a.example.org. 443": false,
		"exact.net 8443": true, "exact.net 443": false, "any.net 1": true, "127.0.0.1 80": true, "127.0.0.1 9": false, "127.0.0.2 443": false, "::1 99": true, "::1 98": false,
		"localhost 443": true, "localhost 7": false, "10.1.1.1 443": false, "x.example.org@127.0.0.1 443": false, "127.0.0.1#.example.org 443": false,
	} {
		host, port, _ := strings.Cut(at, " ")
		if got := tools.allows(host, port); got != want {
			t.Errorf("%s: %v", at, got)
		}
	}
	for a, want := range map[string]bool{"127.0.0.1": true, "::ffff:127.0.0.1": true, "127.0.0.2": true, "::1": true, "10.9.9.9": true, "192.168.0.1": false, "169.254.169.254": false} {
		if got := tools.mayReach(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: %v", a, got)
		}
	}
	if (Tools{Hosts: []string{"*", "local*:*", "*.1"}}).mayReach(netip.MustParseAddr("127.0.0.1")) {
		t.Error("a pattern names an address")
	}
}

// TestNamesThatLeadHome: a name that is allowed and leads to this machine is
// not connected to, by no way; nor is a port that is not named.
func TestNamesThatLeadHome(t *testing.T) {
	asked := 0
	home := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		fmt.Fprint(w, "a service of this machine")
	}))
	defer home.Close()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(home.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	token := base64.StdEncoding.EncodeToString([]byte("ratchet:" + Token([]byte("k"), "t1-a1")))
	connect := func(to string) string {
		t.Helper()
		front, err := url.Parse(b.front.URL)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", front.Host)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nProxy-Authorization: Basic %s\r\n\r\n", to, to, token)
		line, _ := bufio.NewReader(c).ReadString('\n')
		return line
	}
	for _, record := range []bool{false, true} {
		for hosts, addresses := range map[string][]string{
			"local*:*": {"localhost:" + port}, "*:*": {"localhost:" + port, "127.0.0.1:" + port, "[::ffff:127.0.0.1]:" + port, "0.0.0.0:" + port, "127.1:" + port},
			"127.*": {"127.0.0.1:" + port, "127.0.0.1:80"}, "*.0.0.1:*": {"127.0.0.1:" + port},
			"127.0.0.1:80": {"127.0.0.1:" + port}, "localhost:443": {"localhost:" + port},
		} {
			b.options.Tools = Tools{Hosts: []string{hosts}, Record: record}
			b.restart()
			for _, address := range addresses {
				if status, got := get(t, b.through("t1-a1", nil), "http://"+address+"/"); status == 200 || strings.Contains(got, "of this machine") {
					t.Errorf("%s by GET, with %s: %d %s", address, hosts, status, got)
				}
				if record {
					continue // it would speak TLS in the host's place
				}
				if line := connect(address); strings.Contains(line, " 200 ") {
					t.Errorf("%s by CONNECT, with %s: %s", address, hosts, line)
				}
			}
		}
	}
	if asked > 0 {
		t.Errorf("it was asked %d times", asked)
	}
	// What comes behind a CONNECT that is refused, or with one, is no request.
	for _, behind := range []string{"Content-Length: 9\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "\r\n"} {
		front := strings.TrimPrefix(b.front.URL, "http://")
		c, err := net.Dial("tcp", front)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "CONNECT closed.example:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic %s\r\n%sGET http://closed.example/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic %s\r\n\r\n", token, behind, token)
		answers, _ := io.ReadAll(c)
		c.Close()
		// Where the connection was closed with unread data, the answer may be lost.
		if n := strings.Count(string(answers), "HTTP/1.1 "); n > 1 {
			t.Errorf("behind %q there were %d answers: %s", behind, n, answers)
		}
	}
	for _, hosts := range []string{"127.0.0.1:*", "127.0.0.1:" + port, "localhost:" + port} {
		host, _ := splitEntry(hosts)
		b.options.Tools = Tools{Hosts: []string{hosts}}
		b.restart()
		address := host + ":" + port
		if status, got := get(t, b.through("t1-a1", nil), "http://"+address+"/"); status != 200 {
			t.Errorf("%s, named: %d %s", address, status, got)
		}
		if line := connect(address); !strings.Contains(line, " 200 ") {
			t.Errorf("%s, named, by CONNECT: %s", address, line)
		}
	}
}
