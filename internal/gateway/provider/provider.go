// Package provider is who answers model calls: addresses, keys, prices and limits,
// built in and as the settings have them.
package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"ratchet/internal/gateway/protocol"
)

// Provider is one that answers model calls.
type Provider struct {
	Name     string
	Protocol protocol.Name
	URL      string // without what the protocol's paths begin with: /chat/completions, or /v1/messages
	Key      KeySource
	KeyIn    string // the header that the key goes into; "Authorization" as a bearer
	Prices   string // whose lines of the table of prices
	Free     bool   // it costs nothing
	Hosts    []string
	// Also are protocols that it speaks besides, at an address that follows from URL.
	Also []protocol.Name
	// TellsCost: what it charges stands in its answers, and counts.
	TellsCost bool
	// NoStreamOptions: it refuses stream_options, and tells the usage unasked.
	NoStreamOptions bool

	Limits                        // of all its models together
	Models      map[string]Limits // of each by itself, by name
	Concurrency int               // calls at the same time

	once sync.Once
	key  string
	err  error
}

// KeySource is where a provider's key is. The first that is set counts; none:
// the provider asks for no key.
type KeySource struct {
	Env     []string
	File    string
	Command []string // that prints it: secret-tool, pass, security …
}

// NoKeyError says that a provider cannot be asked.
type NoKeyError struct{ Provider, Why string }

func (e *NoKeyError) Error() string {
	return fmt.Sprintf("there is no key for the provider %s: %s", e.Provider, e.Why)
}

// Secret is the provider's key; "" where it asks for none. It is looked up once.
func (p *Provider) Secret() (string, error) {
	p.once.Do(func() { p.key, p.err = p.Key.read(p.Name) })
	return p.key, p.err
}

// keyCommandTime is how long a command may take to print a key.
const keyCommandTime = 30 * time.Second

func (k KeySource) read(provider string) (string, error) {
	switch {
	case k.File != "":
		b, err := os.ReadFile(k.File)
		if err != nil {
			return "", &NoKeyError{provider, err.Error()}
		}
		return strings.TrimSpace(string(b)), nil
	case len(k.Command) > 0:
		ctx, cancel := context.WithTimeout(context.Background(), keyCommandTime)
		defer cancel()
		out, err := exec.CommandContext(ctx, k.Command[0], k.Command[1:]...).Output()
		if err != nil {
			return "", &NoKeyError{provider, fmt.Sprintf("its command %s failed: %v", k.Command[0], err)}
		}
		return strings.TrimSpace(string(out)), nil
	case len(k.Env) == 0:
		return "", nil
	}
	for _, name := range k.Env {
		if v := strings.TrimSpace(os.Getenv(name)); v != "" {
			return v, nil
		}
	}
	return "", &NoKeyError{provider, fmt.Sprintf("set $%s, or models.providers.%s.key in config.yaml", k.Env[0], provider)}
}

// Speaks reports whether the provider can be asked in a protocol.
func (p *Provider) Speaks(n protocol.Name) bool { return p.Protocol == n || slices.Contains(p.Also, n) }

// Address is where the provider is asked in a protocol that it speaks.
func (p *Provider) Address(n protocol.Name) string {
	if p.Protocol == n {
		return p.URL
	}
	return protocol.Of(n).Native(p.URL)
}

// Authorize puts the key into a request in a protocol that the provider speaks.
func (p *Provider) Authorize(h http.Header, n protocol.Name) error {
	key, err := p.Secret()
	if err != nil || key == "" {
		return err
	}
	in := p.KeyIn
	if own := protocol.Of(n).KeyIn(); own != "" {
		in = own
	}
	if in == "Authorization" {
		key = "Bearer " + key
	}
	h.Set(in, key)
	return nil
}

// Below is the part of a path that is below the provider's URL, or all of it.
func (p *Provider) Below(path string) string {
	if u, err := url.Parse(p.URL); err == nil && u.Path != "" {
		if rest, ok := strings.CutPrefix(path, u.Path+"/"); ok {
			return "/" + rest
		}
	}
	return path
}

// builtIn are the providers that need no settings but a key.
func builtIn() map[string]*Provider {
	out := map[string]*Provider{}
	add := func(name, url, env string, hosts ...string) *Provider {
		p := &Provider{Name: name, Protocol: protocol.OpenAI, URL: url, KeyIn: "Authorization", Prices: name, Concurrency: DefaultConcurrency, Hosts: hosts}
		if p.Free = env == ""; !p.Free {
			p.Key.Env = strings.Split(env, " ")
		}
		out[name] = p
		return p
	}
	add("openai", "https://api.openai.com/v1", "OPENAI_API_KEY", "api.openai.com")
	a := add("anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY", "api.anthropic.com")
	a.Protocol, a.KeyIn = protocol.Anthropic, "X-Api-Key"
	add("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "openrouter.ai").TellsCost = true
	add("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", "api.deepseek.com")
	add("gemini", "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY GOOGLE_API_KEY", "generativelanguage.googleapis.com").Also = []protocol.Name{protocol.Gemini}
	add("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY", "api.groq.com")
	add("mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY", "api.mistral.ai").NoStreamOptions = true
	add("together", "https://api.together.xyz/v1", "TOGETHER_API_KEY", "api.together.xyz")
	add("fireworks", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY", "api.fireworks.ai")
	add("xai", "https://api.x.ai/v1", "XAI_API_KEY", "api.x.ai")
	add("moonshot", "https://api.moonshot.ai/v1", "MOONSHOT_API_KEY", "api.moonshot.ai")
	add("cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY", "api.cerebras.ai")
	local := add("ollama", "http://127.0.0.1:11434/v1", "")
	local.Also = []protocol.Name{protocol.Ollama}
	if v := os.Getenv("OLLAMA_HOST"); v != "" {
		if !strings.Contains(v, "://") {
			v = "http://" + v
		}
		if u, err := upstreamURL(protocol.OpenAI, v); err == nil {
			local.URL = u
		}
	}
	add("vllm", "http://127.0.0.1:8000/v1", "")
	add("llamacpp", "http://127.0.0.1:8080/v1", "")
	z := add("azure", "", "AZURE_OPENAI_API_KEY")
	z.KeyIn = "Api-Key"
	if v := os.Getenv("AZURE_OPENAI_ENDPOINT"); v != "" {
		z.URL = strings.TrimRight(v, "/")
	}
	return out
}

// DefaultConcurrency is how many calls a provider gets at the same time.
const DefaultConcurrency = 64

// upstreamURL reads the address of a provider. Where it has no path, the one
// that the protocol's addresses usually have is added.
func upstreamURL(p protocol.Name, s string) (string, error) {
	u, err := url.Parse(s)
	if err == nil && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		err = errors.New("it is not an http or https URL")
	}
	if err == nil && u.User != nil {
		err = errors.New("it has a name or password in it; a key belongs into key")
	}
	if err != nil {
		return "", fmt.Errorf("%q: %w", s, err)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	protocol.Of(p).Base(u)
	return u.String(), nil
}

// KeyNames are the variables that clients look for a key in, those of every
// provider.
func KeyNames() []string {
	return keyNames(func(string) bool { return true })
}

// KeyNames are the variables that clients look for a key in, of the providers that
// can be called: those that have a key or an address of the user's, and those that used
// says of that they were called before. If there are none, all. Programs choose a
// provider by these variables.
func (s *Settings) KeyNames(used func(provider string) bool) []string {
	standard := builtIn()
	out := keyNames(func(name string) bool {
		p := s.Providers[name]
		if p == nil {
			return false
		}
		hasKey := p.Key.File != "" || len(p.Key.Command) > 0 || slices.ContainsFunc(p.Key.Env, func(v string) bool { return os.Getenv(v) != "" })
		return hasKey || p.URL != standard[name].URL || used(name)
	})
	if len(out) == 0 {
		return KeyNames()
	}
	return out
}

func keyNames(of func(provider string) bool) []string {
	var out []string
	for name, p := range builtIn() {
		if of(name) {
			out = append(out, p.Key.Env...)
		}
	}
	slices.Sort(out)
	return out
}
