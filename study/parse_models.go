package study

import (
	"fmt"
	"net"
	"net/netip"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"ratchet/internal/yamlfile"
)

func (p *parsing) models(n ast.Node) {
	m := &Models{}
	p.s.Models = m
	p.at["models"] = n
	p.Fields(n, "models", map[string]func(ast.Node){
		"allow": func(n ast.Node) {
			m.Allow = p.Texts(n, "models.allow")
			for _, name := range m.Allow {
				p.modelName(n, name)
			}
		},
		"client_tools": func(n ast.Node) { m.ClientTools = p.Texts(n, "models.client_tools") },
		"replay":       func(n ast.Node) { m.Replay = p.Choice(n, "models.replay", "resume", "strict-replay", "off") },
		"ignore": func(n ast.Node) {
			p.Fields(n, "models.ignore", map[string]func(ast.Node){
				"fields": func(n ast.Node) {
					m.IgnoreFields = p.Texts(n, "models.ignore.fields")
					for _, f := range m.IgnoreFields {
						if !strings.HasPrefix(f, "/") || len(f) < 2 {
							p.Complain(n, fmt.Sprintf("%q is not a place in a request", yamlfile.Shorten(f)), "write it as a JSON pointer, like /messages/0/content")
						}
					}
				},
				"text": func(n ast.Node) {
					m.IgnoreText = p.Texts(n, "models.ignore.text")
					for _, t := range m.IgnoreText {
						if _, err := regexp.Compile(t); err != nil {
							p.Complain(n, fmt.Sprintf("models.ignore.text is not a regular expression: %v", err), "see https://pkg.go.dev/regexp/syntax")
						}
					}
				},
			})
		},
	})
}

func (p *parsing) modelName(n ast.Node, name string) {
	provider, model, ok := strings.Cut(name, "/")
	if _, err := path.Match(name, ""); !ok || provider == "" || model == "" || err != nil {
		p.Complain(n, fmt.Sprintf("%q is no model", yamlfile.Shorten(name)), "write provider/model, like openai/gpt-4o-mini or anthropic/*")
	}
}

// spend are the fields that bound what model calls cost.
func (p *parsing) spend(s *Spend, what string) map[string]func(ast.Node) {
	return map[string]func(ast.Node){
		"cost":   func(n ast.Node) { s.Cost = yamlfile.Unit(&p.Reader, n, what+".cost", ParseMoney) },
		"tokens": func(n ast.Node) { s.Tokens = int64(p.Whole(n, what+".tokens", 0, 1<<50)) },
		"calls":  func(n ast.Node) { s.Calls = int64(p.Whole(n, what+".calls", 0, 1<<50)) },
	}
}

// isHost reports whether a text is a name with * and ?, alone or with a port, an
// address, or a range of addresses.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	if _, err := netip.ParsePrefix(s); err == nil {
		return true
	}
	if host, port, err := net.SplitHostPort(s); err == nil {
		if n, err := strconv.Atoi(port); port != "*" && (err != nil || n < 1 || n > 65535) {
			return false
		}
		if s = host; isHost(s) {
			return true
		}
	}
	_, err := path.Match(s, "")
	return err == nil && s != "" && !strings.ContainsAny(s, "/: ")
}

func (p *parsing) tools(n ast.Node) {
	t := &Tools{}
	p.s.Tools = t
	seen := p.Fields(n, "tools", map[string]func(ast.Node){
		"hosts": func(n ast.Node) {
			t.Hosts = p.Texts(n, "tools.hosts")
			for _, h := range t.Hosts {
				if !isHost(h) {
					p.Complain(n, fmt.Sprintf("%q is no host", yamlfile.Shorten(h)), "write a name, like api.semanticscholar.org or *.example.org, with a port where it is neither 80 nor 443, like example.org:8443; or an address, like 10.0.0.5")
				}
			}
		},
		"record": func(n ast.Node) { t.Record = p.Choice(n, "tools.record", "true", "false") == "true" },
	})
	if (!seen["hosts"] || len(t.Hosts) == 0) && !t.Record {
		p.Complain(n, "tools names no hosts", "add hosts: [api.semanticscholar.org], or record: true for the addresses of model providers alone")
	}
}
