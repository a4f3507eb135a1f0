package engine

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	_ "embed" // what Python begins with
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ratchet/internal/executor"
	"ratchet/internal/gateway"
	"ratchet/internal/gateway/ledger"
	"ratchet/internal/gateway/provider"
	"ratchet/internal/home"
	"ratchet/internal/journal"
	"ratchet/internal/research"
	"ratchet/internal/sandbox"
	"ratchet/study"
)

// door is the gateway of a run that is driven, and the way of its attempts to
// it. A nil door is that of a run whose study allows no model calls.
type door struct {
	d       *driver
	gateway *gateway.Gateway
	ledger  *ledger.Ledger
	socket  string
	key     []byte
	tools   gateway.Tools
	trust   []byte // certificates of those whom programs are to trust; nil: whom they like
	trouble chan research.ModelsBlocked
	serving chan struct{} // closed when serving has ended
	kept    int64         // records of calls that what is kept has
	// keyNames are the variables in which programs find their token.
	keyNames []string
}

// openModels opens the gateway, if the study allows model calls. It is at the
// same socket whichever engine drives the run, so that attempts that ran on
// without one find it again.
func (d *driver) openModels(ctx context.Context) error {
	m, tools := d.study.Models, d.study.Tools
	if m == nil && tools == nil {
		return nil
	}
	if m == nil {
		m = &study.Models{Allow: []string{"none/none"}}
	}
	settings := d.options.Models
	if settings == nil {
		var err error
		if settings, err = provider.DefaultSettings(); err != nil {
			return err
		}
	}
	settings, err := d.priced(settings)
	if err != nil {
		return err
	}
	w := &door{d: d, trouble: make(chan research.ModelsBlocked, 1), serving: make(chan struct{})}
	if w.key, err = d.engine.gatewayKey(d.run); err != nil {
		return err
	}
	if w.socket, err = d.engine.gatewaySocket(d.run); err != nil {
		return err
	}
	if w.ledger, err = d.engine.Calls(ctx, d.run); err != nil {
		return err
	}
	w.keyNames = settings.KeyNames(func(provider string) bool {
		return slices.ContainsFunc(w.ledger.Calls(), func(c ledger.Call) bool {
			return slices.ContainsFunc(c.Targets, func(target string) bool { return strings.HasPrefix(target, provider+"/") })
		})
	})
	if slices.Contains(w.keyNames, "OPENAI_API_KEY") {
		w.keyNames = append(w.keyNames, "CODEX_API_KEY")
	}
	if tools != nil {
		w.tools = gateway.Tools{Hosts: tools.Hosts, Record: tools.Record}
	}
	// Programs with the machine's network reach providers without the gateway.
	if w.tools.Record || d.study.Models != nil && d.closed {
		if w.tools.Authority, err = gateway.OpenAuthority(filepath.Join(d.engine.RunFolder(d.run), "gateway-ca.pem")); err != nil {
			return err
		}
		w.trust = trusted(w.tools)
	}
	rules, err := rulesOf(m)
	if err != nil {
		return err
	}
	_ = os.Remove(w.socket) // of an engine that was killed
	l, err := net.Listen("unix", w.socket)
	if err != nil {
		return fmt.Errorf("opening the gateway: %w", err)
	}
	w.gateway = gateway.New(gateway.Options{
		Run: d.run, Ledger: w.ledger, Store: d.engine.Objects, Settings: settings, Deps: d.engine.deps, Secrets: d.engine.secrets,
		Shared: gateway.NewShared(filepath.Join(d.engine.Folder, "models.json"), d.engine.Now),
		Key:    w.key, Scope: research.TrialOf, Budgets: d.budgets(), Mode: gateway.Mode(m.Replay), Rules: rules, ClientTools: m.ClientTools, Allow: m.Allow, Tools: w.tools,
		Trouble: func(class research.Class, why error) {
			select {
			case w.trouble <- research.ModelsBlocked{Class: class, Why: blockedWhy(d.run, why)}:
			default: // one is enough
			}
		},
		Warn: d.warn,
	})
	w.gateway.SetStage(d.state.Stage)
	d.models = w
	go func() {
		defer close(w.serving)
		if err := w.gateway.Serve(l); err != nil {
			d.warn(fmt.Errorf("the gateway: %w", err))
		}
	}()
	return nil
}

// gatewayKey is what the tokens of a run's attempts are made with; it is made
// once.
func (e *Engine) gatewayKey(run string) ([]byte, error) {
	path := filepath.Join(e.RunFolder(run), "gateway.key")
	key, err := os.ReadFile(path)
	if err == nil && len(key) == 32 {
		return key, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key = make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	return key, os.WriteFile(path, key, 0o600)
}

// longestSocket is the longest path of a Unix socket, with the zero behind it.
const longestSocket = 108

// gatewaySocket is where the gateway of a run listens: in the run's folder, or
// where that has too long a path, in a folder of this user's that is the same
// for every engine, whatever its environment.
func (e *Engine) gatewaySocket(run string) (string, error) {
	path := filepath.Join(e.RunFolder(run), "gateway.sock")
	if len(path) < longestSocket {
		return path, nil
	}
	sum := sha256.Sum256([]byte(path))
	for _, shared := range []string{"/dev/shm", "/tmp"} {
		dir := filepath.Join(shared, fmt.Sprintf("ratchet-%d", os.Getuid()))
		if home.OwnFolder(dir) {
			return filepath.Join(dir, hex.EncodeToString(sum[:12])+".sock"), nil
		}
	}
	return "", fmt.Errorf("opening the gateway: the path of %s is too long for a socket, and there is no folder of this user's in /dev/shm or /tmp; use a home with a shorter path", path)
}

// ownHosts are those that a program reaches without a proxy: servers of its own.
// Some versions of httpx, and with it of OpenAI's client, fail over an ::1 here.
const ownHosts = "localhost,127.0.0.1,0.0.0.0"

// What a program with model calls has in its box: whom it is to trust, and what
// Python begins with.
const (
	authorityFile = "ca.pem"
	pythonFolder  = "python"
)

//go:embed sitecustomize.py
var sitecustomize []byte

// attach gives a job its way to the gateway, by the variables that the official
// clients read. No real key is among them.
func (w *door) attach(job *executor.Job) {
	if w == nil {
		return
	}
	token := gateway.Token(w.key, job.ID)
	env := []string{
		"OPENAI_BASE_URL=http://ADDRESS/v1", "OPENAI_API_BASE=http://ADDRESS/v1", "ANTHROPIC_BASE_URL=http://ADDRESS",
		"GOOGLE_GEMINI_BASE_URL=http://ADDRESS", "OLLAMA_HOST=http://ADDRESS/t/" + token, "OLLAMA_API_BASE=http://ADDRESS/t/" + token,
		"RATCHET_GATEWAY=http://ADDRESS", "NO_PROXY=" + ownHosts, "no_proxy=" + ownHosts,
		"PYTHONPATH=BOX/" + pythonFolder,
	}
	for _, name := range w.keyNames {
		env = append(env, name+"="+token)
	}
	if slices.Contains(w.keyNames, "AZURE_OPENAI_API_KEY") {
		env = append(env, "AZURE_OPENAI_ENDPOINT=http://ADDRESS/p/azure")
	}
	if len(w.tools.Hosts) > 0 || w.trust != nil {
		env = append(env, "NODE_USE_ENV_PROXY=1") // from Node.js 22.21 on
		for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
			env = append(env, name+"=http://ratchet:"+token+"@ADDRESS")
		}
	}
	if w.trust != nil {
		for _, name := range []string{"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO"} {
			env = append(env, name+"=BOX/"+authorityFile)
		}
	}
	job.Door = &sandbox.Door{Socket: w.socket, Env: env}
	if w.d.closed {
		for _, port := range gateway.LoopbackPorts(w.tools.Hosts) {
			job.Door.Ports = append(job.Door.Ports, sandbox.Port{Number: port, Preface: gateway.Preface(port, token)})
		}
	}
	job.Beside = map[string][]byte{pythonFolder + "/sitecustomize.py": sitecustomize}
	if w.trust != nil {
		job.Beside[authorityFile] = w.trust
	}
}

// begin journals that a job's process is about to start for the first time: what an
// earlier one of that name got, it has not.
func (w *door) begin(job executor.Job) error {
	if w == nil || job.Door == nil {
		return nil
	}
	return w.ledger.Begin(job.ID)
}

// trusted are the certificate authorities that a program is told to trust: that
// of its run and, where it reaches hosts that are not intercepted, those of
// the machine.
func trusted(tools gateway.Tools) []byte {
	own := tools.Authority.PEM()
	if len(tools.Hosts) == 0 || tools.Record {
		return own
	}
	// Where distributions keep them, as crypto/x509 has it.
	for _, path := range []string{
		os.Getenv("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem",
	} {
		if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
			return slices.Concat(own, b)
		}
	}
	return own
}

// usage is what an attempt's calls were, or with "" all calls; nil: there were
// none.
func (w *door) usage(attempt string) *research.ModelUse {
	if w == nil {
		return nil
	}
	var s ledger.Summary
	if s = w.ledger.Summary(); attempt != "" {
		s = w.ledger.SummaryOf(attempt)
	}
	if s.Calls == 0 && s.Again == 0 {
		return nil
	}
	head := w.ledger.Head()
	return &research.ModelUse{Calls: s.Calls, Again: s.Again, Tokens: s.Spent.Tokens, USD: s.Spent.USD(), Head: head.Hash.String(), HeadSeq: head.Seq}
}

// cutOff reports whether an engine died over a call of the attempt's.
func (w *door) cutOff(attempt string) bool { return w != nil && w.ledger.CutOff(attempt) }

// committed is told of the stage after every commit.
func (w *door) committed(stage string) {
	if w == nil {
		return
	}
	w.gateway.SetStage(stage)
	if w.ledger.Head().Seq-w.kept > sumsDrive {
		w.saveSums()
	}
}

// saveSums keeps what the calls come to.
func (w *door) saveSums() {
	body, head := w.ledger.Kept()
	w.d.engine.KeepFold(journal.CallsOf(w.d.run), sumsFile, sumsForm, head, body)
	w.kept = head.Seq
}

// blocked is where it is told that calls cannot go on.
func (w *door) blocked() <-chan research.ModelsBlocked {
	if w == nil {
		return nil
	}
	return w.trouble
}

func (w *door) close() {
	if w == nil {
		return
	}
	w.gateway.Close()
	<-w.serving
	w.ledger.Close()
	if w.ledger.Head().Seq > w.kept+sumsEvery {
		w.saveSums()
	}
}
