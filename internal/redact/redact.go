// Package redact takes secrets out of texts before they are kept or shown: the
// values that this process was given, and whatever has the form of one.
package redact

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// Redactor takes secrets out. The zero Redactor knows forms only. It is safe
// for concurrent use.
type Redactor struct {
	mu     sync.RWMutex
	values []string // longest first; replaced, never changed
}

// leastValue is the length from which on a value is a secret; shorter ones
// would take innocent words out of texts.
const leastValue = 8

// New returns a redactor for these values besides all forms.
func New(values ...string) *Redactor {
	r := &Redactor{}
	for _, v := range values {
		if len(v) >= leastValue && !slices.Contains(r.values, v) {
			r.values = append(r.values, v)
		}
	}
	slices.SortFunc(r.values, func(a, b string) int { return len(b) - len(a) })
	return r
}

// With is a redactor for more values.
func (r *Redactor) With(values ...string) *Redactor {
	known := r.known()
	if !slices.ContainsFunc(values, func(v string) bool { return len(v) >= leastValue && !slices.Contains(known, v) }) {
		return r
	}
	return New(slices.Concat(known, values)...)
}

// Learn has the redactor take out more values from now on.
func (r *Redactor) Learn(values ...string) {
	more := r.With(values...).known()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values = more
}

func (r *Redactor) known() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.values
}

// Known is a text without the values of this redactor, also as JSON and URLs
// have them; what only has the form of a secret stays.
func (r *Redactor) Known(b []byte) []byte {
	for _, v := range r.known() {
		for _, as := range encodings(v) {
			if bytes.Contains(b, []byte(as)) {
				b = bytes.ReplaceAll(b, []byte(as), []byte("[redacted]"))
			}
		}
	}
	return b
}

// encodings are the ways in which a value stands in documents.
func encodings(v string) []string {
	out := []string{v}
	quoted, err := json.Marshal(v)
	if err == nil {
		out = append(out, string(quoted[1:len(quoted)-1]))
	}
	out = append(out, strings.ReplaceAll(v, "/", `\/`), url.QueryEscape(v), url.PathEscape(v))
	slices.Sort(out)
	return slices.Compact(out)
}

var secretName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)(?:api_?key|_key$|^key$|token|secret|passw|credential|webhook|_dsn$|private)`)
})

// OfEnvironment returns a redactor for the values of those variables
// (NAME=value) whose names say that they are secret.
func OfEnvironment(environ []string) *Redactor {
	var values []string
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		if secretName().MatchString(name) && mayBeSecret(value) {
			values = append(values, value)
		}
	}
	return New(values...)
}

// NamesSecret reports whether the name of a variable says that it is secret.
func NamesSecret(name string) bool { return secretName().MatchString(name) }

// SecretsOf are the values of variables (NAME=value) that may be secrets, whatever
// their names.
func SecretsOf(environ []string) (out []string) {
	for _, e := range environ {
		if _, value, _ := strings.Cut(e, "="); mayBeSecret(value) {
			out = append(out, value)
		}
	}
	return out
}

// mayBeSecret: a path is where a secret is, and a plain word or number is none.
func mayBeSecret(value string) bool {
	return !strings.HasPrefix(value, "/") && strings.IndexFunc(value, unicode.IsDigit) >= 0
}

// form is what a kind of secret looks like.
type form struct {
	name    string
	anchors []string // one of them is in every secret of this form, or at it
	fold    bool     // the anchors are in lower case, and the secret's may be in any
	text    *regexp.Regexp
	group   int // of text, which is the secret; 0: all
}

// The forms are those that the providers document, and that scanners for
// secrets know. Compiled when first used.
var forms = sync.OnceValue(func() []form {
	return []form{
		{"private key", []string{"PRIVATE KEY-----"}, false, regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^-]|-[^-])*(?:-----END [A-Z ]*PRIVATE KEY-----)?`), 0},
		{"API key", []string{"sk-"}, false, regexp.MustCompile(`\bsk-(?:[A-Za-z0-9]+-)*[A-Za-z0-9_-]{20,}`), 0},
		{"API key", []string{"gsk_", "xai-", "pplx-", "r8_", "sk_live_", "rk_live_", "sk_test_"}, false, regexp.MustCompile(`\b(?:gsk_|xai-|pplx-|r8_|[sr]k_live_|sk_test_)[A-Za-z0-9]{20,}`), 0},
		{"Hugging Face token", []string{"hf_"}, false, regexp.MustCompile(`\bhf_[A-Za-z0-9]{30,}`), 0},
		{"Google API key", []string{"AIza"}, false, regexp.MustCompile(`\bAIza[A-Za-z0-9_-]{35}`), 0},
		{"AWS key", []string{"AKIA", "ASIA"}, false, regexp.MustCompile(`\b(?:AKIA|ASIA)[A-Z0-9]{16}\b`), 0},
		{"GitHub token", []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"}, false, regexp.MustCompile(`\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,})`), 0},
		{"GitLab token", []string{"glpat-"}, false, regexp.MustCompile(`\bglpat-[A-Za-z0-9_-]{20,}`), 0},
		{"package registry token", []string{"npm_", "pypi-"}, false, regexp.MustCompile(`\b(?:npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,})`), 0},
		{"Slack token", []string{"xox"}, false, regexp.MustCompile(`\bxox[abeoprs]-[A-Za-z0-9-]{10,}`), 0},
		{"webhook", []string{"hooks.slack.com/", "/api/webhooks/"}, false, regexp.MustCompile(`(?:hooks\.slack\.com/services|discord(?:app)?\.com/api/webhooks)/[A-Za-z0-9_/-]{20,}`), 0},
		{"JSON web token", []string{"eyJ"}, false, regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}`), 0},
		{"bearer token", []string{"earer "}, false, regexp.MustCompile(`[Bb]earer +([A-Za-z0-9._~+/=-]{16,})`), 1},
		{"password", []string{"://"}, false, regexp.MustCompile(`\b[a-z][a-z0-9+.-]*://[^\s/@:"']*:([^\s/@"']{3,})@`), 1},
		{"secret", []string{
			"apikey", "api_key", "api-key", "secret", "accesstoken", "access_token", "access-token", "authtoken", "auth_token", "auth-token",
			"accountkey", "account_key", "account-key", "passw",
		}, true, regexp.MustCompile(`(?i)(?:api[_-]?key|secret[_-]?key|secret[_-]?access[_-]?key|access[_-]?token|auth[_-]?token|client[_-]?secret|account[_-]?key|passwd|password)["']?\s*[:=]\s*["']?([^\s"',;}]{12,})`), 1},
	}
})

// Text is a text without its secrets.
func (r *Redactor) Text(s string) string {
	for _, v := range r.known() {
		s = strings.ReplaceAll(s, v, "[redacted]")
	}
	for _, f := range forms() {
		if !f.possible(s) {
			continue
		}
		s = replace(s, f)
	}
	return s
}

func (f form) possible(s string) bool {
	if f.fold {
		s = strings.ToLower(s)
	}
	return slices.ContainsFunc(f.anchors, func(a string) bool { return strings.Contains(s, a) })
}

// replace puts the form's name where its secrets were.
func replace(s string, f form) string {
	var out strings.Builder
	last := 0
	for _, m := range f.text.FindAllStringSubmatchIndex(s, -1) {
		from, to := m[2*f.group], m[2*f.group+1]
		if (f.name == "secret" || f.name == "API key") && !random(s[from:to]) {
			continue
		}
		out.WriteString(s[last:from])
		out.WriteString("[redacted " + f.name + "]")
		last = to
	}
	if last == 0 {
		return s
	}
	out.WriteString(s[last:])
	return out.String()
}

// random reports whether a value could be a generated one: a word with
// nothing but letters is more likely a name.
func random(s string) bool {
	return strings.IndexFunc(s, unicode.IsDigit) >= 0 && strings.IndexFunc(s, unicode.IsLetter) >= 0 && !strings.HasPrefix(s, "[redacted")
}

// Has says what kind of secret a text has; "" for none.
func (r *Redactor) Has(s string) string {
	for _, v := range r.known() {
		if strings.Contains(s, v) {
			return "secret of this process's environment"
		}
	}
	for _, f := range forms() {
		if f.possible(s) && replace(s, f) != s {
			return f.name
		}
	}
	return ""
}

// block is how much of a stream is looked at together, in bytes. A secret that
// lies across two blocks would be missed, so a block ends with a line, or else
// where no secret can go on.
const block = 256 << 10

// Reader is a stream without its secrets.
func (r *Redactor) Reader(src io.Reader) io.Reader {
	return &reader{r: r, src: bufio.NewReaderSize(src, block)}
}

type reader struct {
	r    *Redactor
	src  *bufio.Reader
	held []byte // read, and not looked at yet
	out  []byte
	end  error
}

func (s *reader) Read(p []byte) (int, error) {
	for len(s.out) == 0 {
		if s.end != nil {
			return 0, s.end
		}
		s.fill()
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}

func (s *reader) fill() {
	buf := make([]byte, block)
	n, err := io.ReadFull(s.src, buf)
	s.held = append(s.held, buf[:n]...)
	cut := len(s.held)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	if s.end = err; err == nil {
		cut = s.boundary()
	}
	s.out = []byte(s.r.Text(string(s.held[:cut])))
	s.held = append([]byte(nil), s.held[cut:]...)
}

// boundary is where the text held can be cut.
func (s *reader) boundary() int {
	// A key of several lines is held together, unless it has no end.
	if begin := bytes.LastIndex(s.held, []byte("-----BEGIN ")); begin >= 0 && !bytes.Contains(s.held[begin:], []byte("-----END ")) && begin > 0 {
		return begin
	}
	if i := bytes.LastIndexByte(s.held, '\n'); i >= 0 {
		return i + 1
	}
	if i := bytes.LastIndexAny(s.held, " \t,;\"'"); i > len(s.held)/2 {
		return i + 1
	}
	return len(s.held)
}

// Attribute takes secrets out of what is logged: it is a ReplaceAttr of
// slog.HandlerOptions.
func (r *Redactor) Attribute(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case string:
		a.Value = slog.StringValue(r.Text(v))
	case error:
		a.Value = slog.StringValue(r.Text(v.Error()))
	}
	return a
}
