package gateway

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"ratchet/internal/research"
)

// Servers of this machine are reached from a sandbox by the addresses that programs have
// written down: their shim listens at the same ports of 127.0.0.1 there, and says in
// front of each connection which port it was, and whose program.

// LoopbackPorts are the ports of 127.0.0.1 that hosts name.
func LoopbackPorts(hosts []string) (out []int) {
	for _, entry := range hosts {
		host, text := splitEntry(entry)
		port, err := strconv.Atoi(text)
		if err != nil || port < 1 || port > 65535 || slices.Contains(out, port) {
			continue
		}
		if a, err := netip.ParseAddr(host); err == nil && a == netip.AddrFrom4([4]byte{127, 0, 0, 1}) {
			out = append(out, port)
		}
	}
	return out
}

// begins is what a preface begins with, and no request of HTTP.
const begins = "RATCHET/1 "

// Preface is the line in front of a connection to a port of this machine's loopback, by
// the attempt that has a token.
func Preface(port int, token string) string { return fmt.Sprintf("%s%d %s\n", begins, port, token) }

// prefaced is a connection from a shim. Its preface is read with the first request.
type prefaced struct {
	net.Conn
	once  sync.Once
	rest  *bufio.Reader
	port  string // "": it has no preface
	token string
	err   error
}

type prefacing struct{ net.Listener }

func (l prefacing) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &prefaced{Conn: c, rest: bufio.NewReaderSize(c, 4096)}, nil
}

func (c *prefaced) Read(b []byte) (int, error) {
	c.once.Do(func() {
		if start, err := c.rest.Peek(len(begins)); err != nil || string(start) != begins {
			return // what is wrong shows when it is read
		}
		line, err := c.rest.ReadSlice('\n')
		if c.err = err; err == nil {
			c.port, c.token, _ = strings.Cut(strings.TrimSpace(string(line[len(begins):])), " ")
		}
	})
	if c.err != nil {
		return 0, c.err
	}
	return c.rest.Read(b)
}

type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// local carries out a request to a server of this machine's loopback; false: it is none.
// One to the address of a provider of models is the model call that it is.
func (g *Gateway) local(w http.ResponseWriter, hr *http.Request) bool {
	c, _ := hr.Context().Value(connKey{}).(*prefaced)
	if c == nil || c.port == "" {
		return false
	}
	attempt, scope, ok := g.attempt(http.Header{"Authorization": {c.token}})
	if !ok {
		http.Error(w, "ratchet: this is not a token of an attempt that runs", http.StatusForbidden)
		return true
	}
	for _, p := range g.Settings.Providers {
		if u, err := url.Parse(p.URL); err == nil && u.Port() == c.port && slices.Contains([]string{"127.0.0.1", "localhost", "::1"}, u.Hostname()) {
			hr.Header.Set("Authorization", "Bearer "+c.token)
			g.asModel(w, hr, p)
			return true
		}
	}
	const host = "127.0.0.1"
	if why := g.closedTo(host, c.port); why != "" {
		http.Error(w, "ratchet: "+research.Printable(why, 500), http.StatusForbidden)
		return true
	}
	g.fetch(w, hr, attempt, scope, "http", net.JoinHostPort(host, c.port))
	return true
}
