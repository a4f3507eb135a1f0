package notify_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ratchet/internal/breaker"
	"ratchet/internal/notify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// webhook is a target that keeps what it is told, and can be told to fail.
type webhook struct {
	*httptest.Server
	mu   sync.Mutex
	fail int
	got  chan string
}

func hook(t *testing.T, fail int) *webhook {
	w := &webhook{fail: fail, got: make(chan string, 1000)}
	w.Server = httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.fail > 0 {
			w.fail--
			http.Error(out, "no", http.StatusServiceUnavailable)
			return
		}
		var m struct{ Title, Message string }
		if json.Unmarshal(b, &m) != nil {
			m.Message = string(b)
		}
		w.got <- m.Title + ": " + m.Message
	}))
	t.Cleanup(func() {
		w.Close()
		http.DefaultClient.CloseIdleConnections()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return w
}

func (w *webhook) url() string {
	return "generic+" + w.URL + "/?template=json"
}

func (w *webhook) next(t *testing.T) string {
	t.Helper()
	select {
	case s := <-w.got:
		return s
	case <-time.After(20 * time.Second):
		t.Fatal("nobody was told")
		return ""
	}
}

func TestTold(t *testing.T) {
	w := hook(t, 0)
	n, err := notify.New([]string{w.url()}, breaker.NewDependencies(breaker.DefaultPolicy), func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	n.Send(notify.Message{Title: "one", Text: "the disk is full"})
	n.Send(notify.Message{Title: "two", Text: "it has room again"})
	n.Close(20 * time.Second)
	if a, b := w.next(t), w.next(t); a != "one: the disk is full" || b != "two: it has room again" {
		t.Errorf("%q, then %q", a, b)
	}
}

// TestOneThatFails: a target that does not answer is tried again, is left
// alone after a while, and keeps no other waiting.
func TestOneThatFails(t *testing.T) {
	good, bad, dead := hook(t, 0), hook(t, 1), hook(t, 1<<30)
	deps := breaker.NewDependencies(breaker.Policy{Failures: 2, OpenFor: time.Hour, Probes: 1})
	n, err := notify.New([]string{dead.url(), bad.url(), good.url()}, deps, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	n.Send(notify.Message{Title: "a", Text: "b"})
	if got := good.next(t); got != "a: b" {
		t.Error(got)
	}
	if got := bad.next(t); got != "a: b" {
		t.Error(got)
	}
	n.Close(0)
}

func TestNamesHaveNoSecrets(t *testing.T) {
	for _, url := range []string{"slack://token-a/token-b/hunter2", "discord://hunter2@123", "smtp://user:hunter2@mail.example.org:587/?from=a@b.c&to=d@e.f", "telegram://hunter2@telegram?chats=1", "ntfy://:hunter2@ntfy.sh/topic", "nonsense hunter2"} {
		name := notify.Name(url)
		if strings.Contains(name, "hunter2") || name == "" {
			t.Errorf("%s is called %q", url, name)
		}
		if err := notify.Check(url); err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Error(err)
		}
	}
	if notify.Check("nonsense://x") == nil {
		t.Error("nonsense is a target")
	}
}

// TestFailuresHaveNoSecrets: what a target's URL has besides its host is not
// in what is said of it.
func TestFailuresHaveNoSecrets(t *testing.T) {
	deps := breaker.NewDependencies(breaker.DefaultPolicy)
	said := make(chan string, 100)
	n, err := notify.New([]string{"generic+http://127.0.0.1:1/hunter2hunter2?token=hunter3hunter3"}, deps, func(err error) { said <- err.Error() })
	if err != nil {
		t.Fatal(err)
	}
	n.Send(notify.Message{Title: "a", Text: "b"})
	text := <-said
	n.Close(0)
	for _, s := range deps.States() {
		text += s.Why
	}
	if strings.Contains(text, "hunter") || !strings.Contains(text, "refused") {
		t.Error(text)
	}
}
