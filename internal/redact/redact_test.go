package redact_test

import (
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"ratchet/internal/redact"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake makes something of a secret's form that was never issued, and that
// no scanner finds in this file.
func fake(prefix string, n int) string { return prefix + strings.Repeat("a1B2c3D4", n/8+1)[:n] }

func TestForms(t *testing.T) {
	for _, c := range []struct{ name, secret string }{
		{"OpenAI", fake("sk-"+"proj-", 60)},
		{"OpenAI, older", fake("sk-", 48)},
		{"Anthropic", fake("sk-"+"ant-api03-", 90)},
		{"OpenRouter", fake("sk-"+"or-v1-", 64)},
		{"Groq", fake("gsk_", 52)},
		{"Hugging Face", fake("hf_", 34)},
		{"Google", fake("AIza", 35)},
		{"AWS", "AKIA" + strings.Repeat("ABCD", 4)},
		{"GitHub", fake("ghp_", 36)},
		{"GitLab", fake("glpat-", 20)},
		{"Slack", "xoxb-" + "1234567890-abcdefghij"},
		{"JWT", "eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"},
		{"PEM", "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIVATE KEY-----"},
		{"Slack's webhook", "hooks.slack.com/services/T0000/B0000/" + fake("", 24)},
	} {
		text := "before " + c.secret + " after"
		got := new(redact.Redactor).Text(text)
		if strings.Contains(got, c.secret) || !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") || !strings.Contains(got, "[redacted ") {
			t.Errorf("%s: %q", c.name, got)
		}
		if new(redact.Redactor).Has(text) == "" {
			t.Errorf("%s is not found", c.name)
		}
	}
	for text, want := range map[string]string{
		"Authorization: Bearer abcdef0123456789abcdef": "Authorization: Bearer [redacted bearer token]",
		"postgres://user:hunter22@db:5432/x":           "postgres://user:[redacted password]@db:5432/x",
		`{"api_key": "abcdef0123456789"}`:              `{"api_key": "[redacted secret]"}`,
		"WANDB_API_KEY=0123456789abcdef0123456789abcd": "WANDB_API_KEY=[redacted secret]",
	} {
		if got := new(redact.Redactor).Text(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

func TestInnocent(t *testing.T) {
	for _, text := range []string{
		"step 3 loss=0.41 tokens: 123456789012", "token: embedding_table_of_words", "https://example.org:8080/a@b",
		"max_new_tokens=1024", "sk-learn 1.5.0 is fast", "sk-learn-pipelines-with-a-long-name", "a task-runner-that-has-a-long-name", "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		"password: correct_horse_battery",
	} {
		if got := new(redact.Redactor).Text(text); got != text {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}

func TestValues(t *testing.T) {
	r := redact.OfEnvironment([]string{"OPENAI_API_KEY=very-own-value-1", "EDITOR=vi", "KEY_FILE=/etc/key1", "TOKENIZERS_PARALLELISM=false", "DB_PASSWORD=short1"})
	if got := r.Text("it is very-own-value-1, false /etc/key1 short1"); got != "it is [redacted], false /etc/key1 short1" {
		t.Error(got)
	}
}

// TestReader: however a stream comes in pieces, and wherever a secret lies in
// it, it does not come out, and all else does.
func TestReader(t *testing.T) {
	secret := fake("sk-"+"proj-", 60)
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(rapid.StringMatching(`[a-z .]{0,200}`), 0, 50).Draw(t, "lines")
		repeat := rapid.SampledFrom([]int{1, 40, 400}).Draw(t, "repeat")
		body := strings.Repeat(strings.Join(lines, rapid.SampledFrom([]string{"\n", " "}).Draw(t, "between")), repeat)
		at := 0
		if len(body) > 0 {
			at = rapid.IntRange(0, len(body)-1).Draw(t, "at")
		}
		got, err := io.ReadAll(new(redact.Redactor).Reader(iotest.HalfReader(strings.NewReader(body[:at] + " " + secret + " " + body[at:]))))
		if err != nil {
			t.Fatal(err)
		}
		if want := body[:at] + " [redacted API key] " + body[at:]; string(got) != want {
			t.Fatalf("%d bytes become %d", len(want), len(got))
		}
	})
}

func TestAttribute(t *testing.T) {
	var out strings.Builder
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: redact.New("hunter2hunter2").Attribute}))
	log.Warn("it is hunter2hunter2", "value", "hunter2hunter2", "error", io.EOF)
	if strings.Contains(out.String(), "hunter2") || !strings.Contains(out.String(), "EOF") {
		t.Error(out.String())
	}
}
