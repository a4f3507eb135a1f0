package gateway

import (
	"cmp"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"ratchet/internal/gateway/ledger"
	"ratchet/internal/gateway/protocol"
	"ratchet/internal/gateway/provider"
	"ratchet/internal/research"
)

// tool is the endpoint of what a program fetches besides models, through the
// gateway as a forward proxy (RFC 9110, 9.3.6). Its protocol is plain HTTP.
const (
	tool protocol.Endpoint = "tool"
	web  protocol.Name     = "http"
)

// Tools say what programs may fetch besides models.
type Tools struct {
	// Hosts that may be reached, HOST or HOST:PORT; * and ? stand for any part of
	// a host, and * for any port. See allows and mayReach.
	Hosts []string
	// Record what is fetched, and give it again to a program that was started
	// again. For that the proxy speaks TLS in the place of the hosts.
	Record bool
	// Authority makes the certificates for it, which programs must trust. Where
	// there is one, the addresses of model providers lead to the gateway, too,
	// recorded or not: many a program has them written down itself.
	Authority *Authority
}

// proxied reports whether a request is one to a forward proxy.
func proxied(r *http.Request) bool { return r.Method == http.MethodConnect || r.URL.IsAbs() }

// proxy carries out a request to the forward proxy.
func (g *Gateway) proxy(w http.ResponseWriter, hr *http.Request) {
	attempt, scope, ok := g.proxyAttempt(hr.Header)
	if !ok {
		w.Header().Set("Proxy-Authenticate", `Basic realm="ratchet"`)
		http.Error(w, "ratchet: this is not a token of an attempt that runs", http.StatusProxyAuthRequired)
		return
	}
	host, port := hr.URL.Hostname(), cmp.Or(hr.URL.Port(), map[string]string{"http": "80", "https": "443"}[hr.URL.Scheme])
	if hr.Method == http.MethodConnect {
		// A proxy in between takes what follows for a tunnel's, whatever the
		// answer: no request may be read of it (GO-2026-6613, GO-2026-6605).
		w.Header().Set("Connection", "close")
		if hr.ContentLength != 0 || len(hr.TransferEncoding) > 0 {
			http.Error(w, "ratchet: CONNECT has no body", http.StatusBadRequest)
			return
		}
		var err error
		if host, port, err = net.SplitHostPort(hr.Host); err != nil {
			http.Error(w, "ratchet: CONNECT names a host and a port, like api.example.org:443", http.StatusBadRequest)
			return
		}
	}
	model := g.providerAt(host)
	if why := g.closedTo(host, port); model == nil && why != "" {
		if err := g.Ledger.Refuse(ledger.Refused{Attempt: attempt, Path: "//" + research.Printable(host, 200), Class: research.ProgramFault, Why: why}, true); err != nil {
			g.Warn(err)
		}
		http.Error(w, "ratchet: "+why, http.StatusForbidden)
		return
	}
	switch {
	case hr.Method != http.MethodConnect && model != nil:
		g.asModel(w, hr, model)
	case hr.Method != http.MethodConnect:
		g.fetch(w, hr, attempt, scope, hr.URL.Scheme, hr.URL.Host)
	case model != nil || g.Tools.Record:
		g.intercept(w, hr, model, attempt, scope)
	default:
		g.tunnel(w, hr)
	}
}

// closedTo says why programs may not reach a port of a host; "": they may.
func (g *Gateway) closedTo(host, port string) string {
	shown := research.Printable(host, 200)
	if !g.Tools.allows(host, port) {
		if g.Tools.allows(host, "443") {
			return fmt.Sprintf("the network is open to %s, and not to its port %s; name it like %s:%s", shown, research.Printable(port, 20), shown, research.Printable(port, 20))
		}
		return fmt.Sprintf("the network is closed to %s; --allow-network, or tools.hosts in the study, opens it to single hosts", shown)
	}
	if a, err := netip.ParseAddr(host); err == nil && !g.Tools.mayReach(a) {
		return (&closedError{a}).Error()
	}
	return ""
}

func (g *Gateway) proxyAttempt(h http.Header) (attempt, scope string, ok bool) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(h.Get("Proxy-Authorization"), "Basic "))
	if err != nil {
		return "", "", false
	}
	_, token, _ := strings.Cut(string(b), ":")
	return g.attempt(http.Header{"Authorization": {token}})
}

// dialTime is how long a host may take to be reached.
const dialTime = 30 * time.Second

// tunnel carries bytes between a program and a host, unseen.
func (g *Gateway) tunnel(w http.ResponseWriter, hr *http.Request) {
	to, err := g.Tools.dialer().DialContext(hr.Context(), "tcp", hr.Host)
	if err != nil {
		http.Error(w, "ratchet: "+err.Error(), statusOfDial(err))
		return
	}
	defer to.Close()
	from, err := hijack(w)
	if err != nil {
		return
	}
	defer from.Close()
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(to, from) // broken off by either side, it is over for both
		_ = to.Close()
	})
	_, _ = io.Copy(from, to)
	_ = from.Close()
	both.Wait()
}

func statusOfDial(err error) int {
	if errors.As(err, new(*closedError)) {
		return http.StatusForbidden
	}
	return http.StatusBadGateway
}

// hijack takes a connection over, and says that what was asked for is there.
func hijack(w http.ResponseWriter) (net.Conn, error) {
	h, ok := w.(http.Hijacker)
	if !ok {
		return nil, errors.New("the connection cannot be taken over")
	}
	c, buffered, err := h.Hijack()
	if err != nil {
		return nil, err
	}
	if buffered.Reader.Buffered() > 0 {
		return nil, errors.Join(errors.New("it spoke before it was its turn"), c.Close())
	}
	if _, err := io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// asModel takes a request to a provider's own address as the model call that it
// is.
func (g *Gateway) asModel(w http.ResponseWriter, r *http.Request, p *provider.Provider) {
	r.URL.Scheme, r.URL.Host, r.URL.Path = "", "", "/p/"+p.Name+p.Below(r.URL.Path)
	g.serve(w, r)
}

// intercept speaks TLS with a program in a host's place, and fetches what it
// asks for. model is the provider whose address it is; nil: of none.
func (g *Gateway) intercept(w http.ResponseWriter, hr *http.Request, model *provider.Provider, attempt, scope string) {
	host := hr.Host
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	c, err := hijack(w)
	if err != nil {
		return
	}
	secure := tls.Server(c, &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return g.Tools.Authority.certificate(name)
	}})
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if model != nil {
			g.asModel(w, r, model)
			return
		}
		g.fetch(w, r, attempt, scope, "https", host)
	})}
	l := newOneConn(secure)
	stop := make(chan struct{})
	g.work.Go(func() {
		select {
		case <-g.ctx.Done():
			_ = s.Close() // its program asks again
		case <-stop:
		}
	})
	_ = s.Serve(l) // ends with the connection
	close(stop)
}

// providerAt is the provider of models in the place of whose host the gateway
// speaks; nil: of none.
func (g *Gateway) providerAt(host string) *provider.Provider {
	if g.Tools.Authority == nil {
		return nil
	}
	for _, p := range g.Settings.Providers {
		if slices.Contains(p.Hosts, strings.ToLower(host)) {
			return p
		}
	}
	return nil
}

// oneConn is a listener of one connection. It ends when that does.
type oneConn struct {
	net.Conn
	given chan net.Conn
	gone  chan struct{}
	once  sync.Once
}

func newOneConn(c net.Conn) *oneConn {
	l := &oneConn{Conn: c, given: make(chan net.Conn, 1), gone: make(chan struct{})}
	l.given <- l
	return l
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.given:
		return c, nil
	case <-l.gone:
		return nil, net.ErrClosed
	}
}

func (l *oneConn) Addr() net.Addr { return l.LocalAddr() }

func (l *oneConn) Close() error {
	l.once.Do(func() { close(l.gone) })
	return l.Conn.Close()
}

// fetch gets what a program wants of a host, out of the record if it is there.
func (g *Gateway) fetch(w http.ResponseWriter, hr *http.Request, attempt, scope, scheme, host string) {
	if hr.Method == http.MethodConnect {
		w.Header().Set("Connection", "close")
		http.Error(w, "ratchet: there are no tunnels in tunnels", http.StatusMethodNotAllowed)
		return
	}
	u := &url.URL{Scheme: scheme, Host: host}
	r := &request{
		method: hr.Method, path: strings.TrimPrefix(hr.URL.EscapedPath(), "/"), query: hr.URL.RawQuery, endpoint: tool, protocol: web,
		provider: u.String(), header: hr.Header, Asked: protocol.Asked{N: 1},
	}
	body, done, err := g.body(w, hr)
	defer done()
	if err != nil {
		http.Error(w, "ratchet: "+err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	r.body = body
	to := target{provider: &provider.Provider{Name: host, Protocol: web, URL: u.String(), Free: true}, model: string(tool), priced: true}
	if !g.Tools.Record {
		g.pass(w, hr, r, to)
		return
	}
	g.perform(w, hr, r, []target{to}, attempt, scope, body)
}

// pass fetches without a record.
func (g *Gateway) pass(w http.ResponseWriter, hr *http.Request, r *request, t target) {
	req, _, err := r.outgoing(hr.Context(), t)
	if err == nil {
		var resp *http.Response
		if resp, err = g.up.web.Do(req); err == nil {
			defer resp.Body.Close()
			for name, values := range passed(resp.Header) {
				w.Header()[name] = values
			}
			w.WriteHeader(resp.StatusCode)
			_, _ = io.Copy(w, resp.Body) // its program may have gone
			return
		}
	}
	http.Error(w, "ratchet: "+err.Error(), statusOfDial(err))
}
