package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// through is a client that goes through the bench's proxy.
func (b *bench) through(attempt string, trust *x509.CertPool) *http.Client {
	u, err := url.Parse(b.front.URL)
	if err != nil {
		b.t.Fatal(err)
	}
	u.User = url.UserPassword("ratchet", Token([]byte("k"), attempt))
	return &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(u), TLSClientConfig: &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}}
}

func get(t *testing.T, c *http.Client, address string) (int, string) {
	t.Helper()
	resp, err := c.Get(address)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(text)
}

// TestToolsAreRecorded: what a program fetches over TLS is on record, and a
// program that was started again gets it from there, whatever the host would
// say now.
func TestToolsAreRecorded(t *testing.T) {
	var asked atomic.Int64
	host := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		if r.URL.Path == "/flaky" && n == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, "%s %s, the %d.", r.Method, r.URL, n)
	}))
	defer host.Close()
	b := newBench(t)
	authority, err := OpenAuthority(filepath.Join(t.TempDir(), "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	b.options.Tools = Tools{Hosts: []string{"127.0.0.1:*"}, Record: true, Authority: authority}
	trustHost := host.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	start := func() {
		b.restart()
		b.gateway.up.web.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: trustHost, MinVersion: tls.VersionTLS12}
	}
	start()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority.PEM())
	first := b.through("t1-a1", pool)
	status, one := get(t, first, host.URL+"/paper?q=x")
	if status != 200 || one != "GET /paper?q=x, the 1." {
		t.Fatalf("%d %s", status, one)
	}
	if _, two := get(t, first, host.URL+"/paper?q=x"); two != "GET /paper?q=x, the 2." {
		t.Errorf("the second time: %s", two)
	}
	start()
	again := b.through("t1-a2", pool)
	for i, want := range []string{one, "GET /paper?q=x, the 2.", "GET /paper?q=x, the 3."} {
		if _, got := get(t, again, host.URL+"/paper?q=x"); got != want {
			t.Errorf("played back, time %d: %s", i+1, got)
		}
	}
	asked.Store(0)
	if status, got := get(t, again, host.URL+"/flaky"); status != 200 || asked.Load() != 2 {
		t.Errorf("a host that fails once: %d %s, asked %d times", status, got, asked.Load())
	}
	if s := b.ledger.Summary(); s.Calls != 4 || s.Spent.NanoUSD != 0 || len(b.troubles) != 0 {
		t.Errorf("the ledger says %+v, the run was told %v", s, b.troubles)
	}
	if b.gateway.allowed("x") != true || b.ledger.Calls()[0].Path != host.URL+"/paper?q=x" {
		t.Errorf("the first call is on record as %s", b.ledger.Calls()[0].Path)
	}
}

// TestAProvidersOwnAddress: a program that has written it down gets to the
// gateway all the same.
func TestAProvidersOwnAddress(t *testing.T) {
	b := newBench(t)
	b.upstream = b.chat(5)
	authority, err := OpenAuthority(filepath.Join(t.TempDir(), "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	other := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "its own certificate") }))
	defer other.Close()
	b.options.Tools = Tools{Hosts: []string{"127.0.0.1:*"}, Authority: authority} // nothing else is recorded
	b.restart()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority.PEM())
	pool.AddCert(other.Certificate())
	for path, model := range map[string]string{
		"https://api.deepseek.com/chat/completions": "deepseek-chat", "https://api.openai.com/v1/chat/completions": "gpt-4o-mini",
		"http://api.openai.com/v1/chat/completions": "gpt-4o",
	} {
		req, _ := http.NewRequest(http.MethodPost, path, strings.NewReader(strings.ReplaceAll(hello, "gpt-4o-mini", model)))
		req.Header.Set("Authorization", "Bearer "+Token([]byte("k"), "t1-a1"))
		resp, err := b.through("t1-a1", pool).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(text) != chatAnswer(5) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, text)
		}
	}
	if status, got := get(t, b.through("t1-a1", pool), other.URL); status != 200 || got != "its own certificate" {
		t.Errorf("a host that is allowed: %d %s", status, got)
	}
	for range 3 {
		if status, got := get(t, b.through("t1-a1", pool), "https://elsewhere.example/"); status == 200 {
			t.Errorf("another host: %s", got)
		}
	}
	b.restart() // what no client waits for is on record
	if s := b.ledger.Summary(); s.Answered != 3 || s.Spent.NanoUSD == 0 || s.Refused != 1 {
		t.Errorf("the ledger says %+v", s)
	}
}

// TestTheProxyKeepsToItsHosts, and to programs of the run.
func TestTheProxyKeepsToItsHosts(t *testing.T) {
	host := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "secure") }))
	defer host.Close()
	plainHost := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "plain") }))
	defer plainHost.Close()
	b := newBench(t)
	trust := host.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	for _, address := range []string{host.URL, plainHost.URL} {
		if status, got := get(t, b.through("t1-a1", trust), address); status == 200 || strings.Contains(got, "secure") || strings.Contains(got, "plain") {
			t.Errorf("%s, not allowed: %d %s", address, status, got)
		}
	}
	b.options.Tools = Tools{Hosts: []string{"127.0.0.1:*"}}
	b.restart()
	for address, want := range map[string]string{host.URL: "secure", plainHost.URL: "plain"} {
		if status, got := get(t, b.through("t1-a1", trust), address); status != 200 || got != want {
			t.Errorf("%s, allowed: %d %s", address, status, got)
		}
		stranger := b.through("t1-a1", trust)
		stranger.Transport.(*http.Transport).Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(b.front.URL) }
		if status, got := get(t, stranger, address); status == 200 {
			t.Errorf("%s, without a token: %d %s", address, status, got)
		}
	}
	if s := b.ledger.Summary(); s.Calls != 0 || s.Refused != 1 { // two addresses of one host
		t.Errorf("the ledger says %+v", s)
	}
}
