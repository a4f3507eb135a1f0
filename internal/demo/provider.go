package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"ratchet/internal/engine"
	"ratchet/internal/gateway/ledger"
	"ratchet/internal/gateway/protocol"
	"ratchet/internal/gateway/provider"
	"ratchet/internal/research"
)

// modelFaults are what the provider does wrong the first time that it is asked
// each question, and as what that must be detected.
var modelFaults = []struct {
	name  string
	class research.Class
	wrong func(w http.ResponseWriter)
}{
	{"model: 429", research.RateLimited, func(w http.ResponseWriter) {
		w.Header().Set("Retry-After-Ms", "300")
		http.Error(w, `{"error":{"message":"Rate limit reached","code":"rate_limit_exceeded"}}`, http.StatusTooManyRequests)
	}},
	{"model: 500", research.Transient, func(w http.ResponseWriter) {
		http.Error(w, `{"error":{"message":"The server had an error","type":"server_error"}}`, http.StatusInternalServerError)
	}},
	{"model: garbage", research.Transient, func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html>\x00\xff it is not JSON") }},
	{"model: cut off", research.Transient, func(w http.ResponseWriter) {
		w.Header().Set("Content-Length", "4000")
		_, _ = io.WriteString(w, `{"choices":[{"mess`)
	}},
	{"model: reset", research.Transient, func(w http.ResponseWriter) {
		if h, ok := w.(http.Hijacker); ok {
			if c, _, err := h.Hijack(); err == nil {
				_ = c.Close()
			}
		}
	}},
}

// asks is a program that asks a model a question for each fault and one more
// after it, and writes down what it was told.
const asks = `for fault in 0 1 2 3 4; do for question in "$fault" "after $fault"; do
curl -sSf -H "Authorization: Bearer $OPENAI_API_KEY" -H "Content-Type: application/json" \
  -d "{\"model\":\"demo/m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"$question\"}]}" \
  "$OPENAI_BASE_URL/chat/completions" >> "$RATCHET_OUTPUT/answers" || exit 1
done; done
`

const asksStudy = `version: 1
name: asks
program: {command: [sh, asks.sh], files: [asks.sh]}
models: {allow: [demo/*]}
limits: {attempt: {time: 60s, memory: 128MiB, disk: 16MiB}, run: {calls: 20}}
`

// faulty is a provider of models on this machine.
type faulty struct {
	mu             sync.Mutex
	wronged, right map[string]int
}

func (p *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Messages []struct{ Content string } }
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || len(asked.Messages) == 0 {
		http.Error(w, "{}", http.StatusBadRequest)
		return
	}
	question := asked.Messages[0].Content
	n, err := strconv.Atoi(question)
	p.mu.Lock()
	wrong := err == nil && n < len(modelFaults) && p.wronged[question] == 0
	if wrong {
		p.wronged[question]++
	} else {
		p.right[question]++
	}
	p.mu.Unlock()
	if wrong {
		modelFaults[n].wrong(w)
		return
	}
	_, _ = fmt.Fprintf(w, `{"choices":[{"message":{"role":"assistant","content":"%s"}}],"usage":{"prompt_tokens":5,"completion_tokens":1}}`, question)
}

// models has a program ask a provider that does wrong what providers do, while
// the engine is killed some times.
func (d *demo) models(ctx context.Context, kills int) error {
	if _, err := exec.LookPath("curl"); err != nil {
		d.o.Say("a provider of models that fails is not shown: it needs curl, which this machine lacks")
		return nil
	}
	d.o.Say("a provider of models answers 429, 500 and garbage, cuts answers off and resets connections; the gateway asks again")
	dir := filepath.Join(d.o.Dir, "asks")
	file := filepath.Join(dir, "study.yaml")
	err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(file, []byte(asksStudy), 0o644), os.WriteFile(filepath.Join(dir, "asks.sh"), []byte(asks), 0o644))
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p := &faulty{wronged: map[string]int{}, right: map[string]int{}}
	server := &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l) // until it is closed
	}()
	defer func() {
		_ = server.Close()
		<-served
	}()
	e, err := engine.Open(filepath.Join(dir, "home"), engine.Options{})
	if err != nil {
		return err
	}
	defer e.Close()
	run, err := e.Create(ctx, file, []byte(asksStudy), engine.RunOptions{Output: filepath.Join(dir, "report")})
	if err != nil {
		return err
	}
	address := "http://" + l.Addr().String()
	var s *research.State
	if kills == 0 {
		s, err = d.ask(ctx, e, run, address)
	} else {
		config := fmt.Sprintf("models: {providers: {demo: {url: %q, free: true}}}\n", address)
		if err = os.WriteFile(filepath.Join(e.Folder, "config.yaml"), []byte(config), 0o600); err == nil {
			var row Row
			row, s, err = d.killing(ctx, e, run, kills, func() time.Duration { return time.Duration(200+rand.IntN(500)) * time.Millisecond })
			row.Fault = "engine killed, asking"
			d.result.Rows = append(d.result.Rows, row)
		}
	}
	if err != nil {
		return err
	}
	ledger, err := e.Calls(ctx, run)
	if err != nil {
		return err
	}
	d.judgeCalls(s, ledger, p)
	return nil
}

// ask drives the run that asks the provider at an address.
func (d *demo) ask(ctx context.Context, e *engine.Engine, run, address string) (*research.State, error) {
	settings, err := provider.DefaultSettings()
	if err != nil {
		return nil, err
	}
	settings.Providers["demo"] = &provider.Provider{Name: "demo", Protocol: protocol.OpenAI, URL: address, Free: true, Concurrency: 4}
	return e.Drive(ctx, run, engine.DriveOptions{Observe: d.observe(e), OnInterrupt: engine.Stop, Models: settings})
}

// judgeCalls reads from a run's calls what became of the provider's faults.
func (d *demo) judgeCalls(s *research.State, on *ledger.Ledger, p *faulty) {
	p.mu.Lock()
	defer p.mu.Unlock()
	calls := on.Calls()
	lost := 0 // in flight at a kill: made again, and counted
	for i, fault := range modelFaults {
		row := Row{Fault: fault.name, Injected: p.wronged[fmt.Sprint(i)], As: string(fault.class), Recovery: []float64{}, Lost: 1}
		if 2*i < len(calls) && calls[2*i].Answered != nil { // one with each fault and one after it, in their order
			c := calls[2*i]
			row.Recovered, row.Lost, row.Recovery = 1, 0, append(row.Recovery, c.Answered.Took)
			if c.Lost > 0 || slices.ContainsFunc(c.Answered.Retries, func(r ledger.Retry) bool { return r.Class == fault.class }) {
				row.Detected = 1 // or it went with the engine, which is on record
			}
		}
		d.result.Rows = append(d.result.Rows, row)
	}
	right := 0
	for _, n := range p.right {
		right += n
	}
	for _, c := range calls {
		lost += c.Lost
	}
	answered := s.Status == research.Completed && len(calls) == 2*len(modelFaults)
	d.check("the program was answered every time", answered, "%d calls", len(calls))
	d.check("each answer was given once, but for calls under way at a kill", right >= len(calls) && right <= len(calls)+lost, "%d answers, %d under way", right, lost)
}
