package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ratchet/internal/breaker"
	"ratchet/internal/gateway"
	"ratchet/internal/gateway/ledger"
	"ratchet/internal/gateway/provider"
	"ratchet/internal/journal/sqlite"
	"ratchet/internal/objects"
	"ratchet/internal/redact"
)

// How much is asked of the gateway and of the reverse proxy beside it.
const (
	gatewaySequential = 2_000 // calls, one after the other
	gatewayClients    = 64
	gatewayAtOnce     = 8_000 // calls, of all clients together
	gatewayReplayed   = 10_000
	gatewayStreams    = 500
)

// gatewayBench measures the gateway, recording on, its journal fully synced,
// beside httputil.ReverseProxy before the same provider.
func gatewayBench(b *bench) ([]row, error) {
	answer := `{"id":"c","object":"chat.completion","model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"` +
		strings.Repeat("x", 4<<10-260) + `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":1000,"total_tokens":1010}}`
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if bytes.Contains(body, []byte(`"stream":true`)) {
			w.Header().Set("Content-Type", "text/event-stream")
			for _, part := range []string{`{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}`, `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`, "[DONE]"} {
				_, _ = io.WriteString(w, "data: "+part+"\n\n") // its client may have gone
				w.(http.Flusher).Flush()
			}
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer) // its client may have gone
	}))
	defer provider.Close()
	target, err := url.Parse(provider.URL)
	if err != nil {
		return nil, err
	}
	plain := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, FlushInterval: -1}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 256
	plain.Transport = transport
	proxy := httptest.NewServer(plain)
	defer proxy.Close()
	keeping, err := keepingProxy(plain, filepath.Join(b.dir, "kept"))
	if err != nil {
		return nil, err
	}
	keeper := httptest.NewServer(keeping)
	defer keeper.Close()

	for name, value := range map[string]string{"OPENAI_API_KEY": "a-key-of-the-benchmark-0123", "RATCHET_OPENAI_UPSTREAM": provider.URL} {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	g, err := openGateway(filepath.Join(b.dir, "gateway"))
	if err != nil {
		return nil, err
	}
	defer func() { g.close() }()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	defer client.CloseIdleConnections()
	var n atomic.Int64
	call := func(address, attempt string, number int64, stream bool) (first, whole time.Duration, err error) {
		body := fmt.Sprintf(`{"model":"gpt-4o-mini","stream":%v,"max_tokens":1000,"messages":[{"role":"user","content":"question %d"}]}`, stream, number)
		req, err := http.NewRequest(http.MethodPost, address+"/v1/chat/completions", strings.NewReader(body))
		if err != nil {
			return 0, 0, err
		}
		req.Header.Set("Authorization", "Bearer "+gateway.Token([]byte("k"), attempt))
		req.Header.Set("Content-Type", "application/json")
		began := time.Now()
		resp, err := client.Do(req)
		if err != nil {
			return 0, 0, err
		}
		defer resp.Body.Close()
		var one [1]byte
		if _, err := io.ReadFull(resp.Body, one[:]); err != nil {
			return 0, 0, err
		}
		first = time.Since(began)
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return 0, 0, err
		}
		if resp.StatusCode != http.StatusOK {
			return 0, 0, fmt.Errorf("status %d", resp.StatusCode)
		}
		return first, time.Since(began), nil
	}
	// One after the other, in turns, so that all meet the same machine.
	var ours, theirs, kept, ourFirst, theirFirst, keptFirst []float64
	for i := range gatewaySequential {
		stream := i < gatewayStreams
		for _, of := range []struct {
			address     string
			whole, part *[]float64
		}{{g.front.URL, &ours, &ourFirst}, {proxy.URL, &theirs, &theirFirst}, {keeper.URL, &kept, &keptFirst}} {
			first, whole, err := call(of.address, "t-a1", n.Add(1), stream)
			if err != nil {
				return nil, err
			}
			if stream {
				*of.part = append(*of.part, first.Seconds())
			} else {
				*of.whole = append(*of.whole, whole.Seconds())
			}
		}
	}
	many := func(address, attempt string, calls, clients int, next *atomic.Int64) (float64, error) {
		var wait sync.WaitGroup
		errs := make(chan error, clients)
		began := time.Now()
		for range clients {
			wait.Go(func() {
				for range calls / clients {
					if _, _, err := call(address, attempt, next.Add(1), false); err != nil {
						errs <- err
						return
					}
				}
			})
		}
		wait.Wait()
		close(errs)
		return float64(calls/clients*clients) / time.Since(began).Seconds(), <-errs
	}
	rates, err := turns(
		func() (float64, error) { return many(g.front.URL, "t-a1", gatewayAtOnce, gatewayClients, &n) },
		func() (float64, error) { return many(proxy.URL, "t-a1", gatewayAtOnce, gatewayClients, &n) },
	)
	if err != nil {
		return nil, err
	}
	// What is on record, asked by a program that was started again.
	var from atomic.Int64
	from.Store(10_000_000)
	if _, err := many(g.front.URL, "r-a1", gatewayReplayed, 50, &from); err != nil {
		return nil, err
	}
	if err := g.restart(); err != nil {
		return nil, err
	}
	from.Store(10_000_000)
	replay, err := many(g.front.URL, "r-a2", gatewayReplayed, 8, &from)
	if err != nil {
		return nil, err
	}
	if s := g.ledger.SummaryOf("r-a2"); s.Calls != 0 {
		return nil, fmt.Errorf("of %d calls %d were sent once more", gatewayReplayed, s.Calls)
	}
	p := func(v []float64, q float64) float64 {
		slices.Sort(v)
		return v[min(len(v)-1, int(q*float64(len(v))))]
	}
	added50, added99, addedFirst := p(ours, 0.5)-p(theirs, 0.5), p(ours, 0.99)-p(theirs, 0.99), p(ourFirst, 0.5)-p(theirFirst, 0.5)
	return []row{
		{"a model call through the gateway, recorded, median", ms(p(ours, 0.5)) + ", " + ms(added50) + " added", "reverse proxy " + ms(p(theirs, 0.5)) + "; one that keeps request and answer in a synced file: " + ms(p(kept, 0.5)-p(theirs, 0.5)) + " added", "0.5 ms added", added50 <= 0.0005},
		{"the same, 99th percentile", ms(p(ours, 0.99)) + ", " + ms(added99) + " added", "reverse proxy " + ms(p(theirs, 0.99)), "5 ms added", added99 <= 0.005},
		{"first byte of a stream, median", ms(p(ourFirst, 0.5)) + ", " + ms(addedFirst) + " added", "reverse proxy " + ms(p(theirFirst, 0.5)), "1 ms added", addedFirst <= 0.001},
		{"64 clients, answers of 4 KiB, fully synced", fmt.Sprintf("%.0f calls/s", rates[0]), fmt.Sprintf("reverse proxy %.0f calls/s", rates[1]), "5,000 calls/s or 0.5 x", rates[0] >= 5000 || rates[0] >= 0.5*rates[1]},
		{"10,000 recorded calls asked again", fmt.Sprintf("%.0f calls/s", replay), "", "10,000 calls/s", replay >= 10_000},
	}, nil
}

// keepingProxy does no more than keep the promise: a reverse proxy that writes a
// request to a file and syncs it before it passes it on, and the answer before
// it delivers it. The file has its full length beforehand, so that a sync
// is of the content alone.
func keepingProxy(plain http.Handler, path string) (http.Handler, error) {
	const length = 4 << 20
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if _, err := file.Write(make([]byte, length)); err != nil {
		return nil, err
	}
	if err := file.Sync(); err != nil {
		return nil, err
	}
	at := int64(0)
	keep := func(b []byte) error {
		if at+int64(len(b)) > length {
			at = 0
		}
		_, err := file.WriteAt(b, at)
		at += int64(len(b))
		return errors.Join(err, file.Sync())
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		err = errors.Join(err, keep(body))
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		plain.ServeHTTP(answer, r)
		if err = errors.Join(err, keep(answer.Body.Bytes())); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes()) // its client may have gone
	}), nil
}

// benched is a gateway with all that is below it.
type benched struct {
	dir     string
	log     *sqlite.Journal
	ledger  *ledger.Ledger
	gateway *gateway.Gateway
	front   *httptest.Server
}

func openGateway(dir string) (*benched, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	g := &benched{dir: dir}
	return g, g.open()
}

func (g *benched) open() error {
	var err error
	if g.log, err = sqlite.Open(filepath.Join(g.dir, "journal.db")); err != nil {
		return err
	}
	store, err := objects.Open(filepath.Join(g.dir, "objects"))
	if err != nil {
		return err
	}
	settings, err := provider.DefaultSettings()
	if err != nil {
		return err
	}
	if g.ledger, err = ledger.Open(context.Background(), "r", g.log, store, time.Now); err != nil {
		return err
	}
	g.gateway = gateway.New(gateway.Options{
		Run: "r", Ledger: g.ledger, Store: store, Settings: settings, Deps: breaker.NewDependencies(breaker.DefaultPolicy), Secrets: redact.New(), Mode: gateway.Resume,
		Shared: gateway.NewShared(filepath.Join(g.dir, "models.json"), time.Now), Key: []byte("k"),
		Scope: func(attempt string) string { return strings.Split(attempt, "-")[0] },
	})
	g.front = httptest.NewServer(g.gateway)
	return nil
}

func (g *benched) close() {
	g.front.CloseClientConnections()
	g.gateway.Close()
	g.front.Close()
	g.ledger.Close()
	_ = g.log.Close()
}

func (g *benched) restart() error {
	g.close()
	return g.open()
}
