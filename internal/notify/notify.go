// Package notify tells people of what happened, by mail, chat or a webhook.
package notify

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nicholas-fedor/shoutrrr"
	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"

	"ratchet/internal/breaker"
	"ratchet/internal/failure"
	"ratchet/internal/redact"
)

// Message is what is told.
type Message struct{ Title, Text string }

// mostQueued bounds what waits for one target. Where that is full the oldest
// is dropped: what is new matters more.
const mostQueued = 100

// mostWait is how long one target may take for one message.
const mostWait = 20 * time.Second

// Notifier tells its targets, each by a goroutine and a queue of its own and
// behind its own breaker, so that one that hangs keeps no other waiting.
type Notifier struct {
	targets []*target
	warn    func(error)
	cancel  context.CancelFunc
	wait    sync.WaitGroup
}

type target struct {
	name    string // without secrets
	hide    *redact.Redactor
	sender  *router.ServiceRouter
	breaker *breaker.Dependency

	mu    sync.Mutex
	queue []Message
	wake  chan struct{} // of capacity one: there is something, or it closes
	ended bool
}

// Check says what is wrong with a target's URL, without the URL.
func Check(target string) error {
	_, err := sender(target)
	return err
}

func sender(target string) (*router.ServiceRouter, error) {
	s, err := shoutrrr.CreateSender(target)
	if err != nil {
		// The library's own words can have the URL in them, and that a password.
		return nil, fmt.Errorf("the target %s cannot be used; write it as shoutrrr has it: slack://…, discord://…, smtp://…, ntfy://…, generic+https://…", Name(target))
	}
	return s, nil
}

// Name is what a target is called: its kind and its host, without secrets.
func Name(target string) string {
	u, err := url.Parse(target)
	if err != nil || u.Scheme == "" {
		return "notification target"
	}
	switch u.Scheme {
	case "smtp", "ntfy", "generic", "generic+http", "generic+https", "gotify", "matrix", "mattermost", "rocketchat", "zulip", "signal":
		return u.Scheme + "://" + u.Hostname()
	}
	return u.Scheme + "://…" // what stands where a host would is a token
}

// New returns a notifier of these targets. warn is told of what could not be
// delivered.
func New(targets []string, deps *breaker.Dependencies, warn func(error)) (*Notifier, error) {
	n := &Notifier{warn: warn}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	named := map[string]int{}
	for _, url := range targets {
		s, err := sender(url)
		if err != nil {
			cancel()
			return nil, err
		}
		name := Name(url)
		if named[name]++; named[name] > 1 { // each has a breaker of its own
			name = fmt.Sprintf("%s (%d)", name, named[name])
		}
		n.targets = append(n.targets, &target{name: name, hide: secrets(url), sender: s, breaker: deps.Of("notification to " + name), wake: make(chan struct{}, 1)})
	}
	for _, t := range n.targets {
		n.wait.Go(func() { n.serve(ctx, t) })
	}
	return n, nil
}

// Send queues a message for every target. It does not wait.
func (n *Notifier) Send(m Message) {
	for _, t := range n.targets {
		t.mu.Lock()
		if len(t.queue) >= mostQueued {
			t.queue = t.queue[1:]
		}
		t.queue = append(t.queue, m)
		t.mu.Unlock()
		t.ring()
	}
}

func (t *target) ring() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Close waits for what is queued to be delivered, at most so long, and drops
// the rest.
func (n *Notifier) Close(most time.Duration) {
	stop := time.AfterFunc(most, n.cancel)
	defer stop.Stop()
	for _, t := range n.targets {
		t.mu.Lock()
		t.ended = true
		t.mu.Unlock()
		t.ring()
	}
	n.wait.Wait()
	n.cancel()
}

func (n *Notifier) serve(ctx context.Context, t *target) {
	for {
		t.mu.Lock()
		var m Message
		some := len(t.queue) > 0
		if some {
			m = t.queue[0]
		}
		ended := t.ended
		t.mu.Unlock()
		if !some {
			if ended {
				return
			}
			select {
			case <-t.wake:
			case <-ctx.Done():
				return
			}
			continue
		}
		err := t.deliver(ctx, m)
		var open *breaker.OpenError
		if errors.As(err, &open) && !ended {
			select { // it stays queued until the target is asked again
			case <-time.After(open.For):
			case <-t.wake:
			case <-ctx.Done():
				return
			}
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			n.warn(fmt.Errorf("telling %s of %q: %w", t.name, m.Title, err))
		}
		t.mu.Lock()
		if len(t.queue) > 0 && t.queue[0] == m && (err == nil || ended || failure.ClassOf(err) != "transient") {
			t.queue = t.queue[1:]
		}
		t.mu.Unlock()
		if err != nil && !ended {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return
			}
		}
	}
}

// hiding is an error without the secrets of its target's URL.
type hiding struct {
	text string
	err  error
}

func (f *hiding) Error() string { return f.text }

func (f *hiding) Unwrap() error { return f.err }

// secrets takes out of texts what of a target's URL could be one: all of it
// but its kind and its host.
func secrets(target string) *redact.Redactor {
	values := []string{target}
	if u, err := url.Parse(target); err == nil {
		values = append(values, strings.FieldsFunc(u.Path, func(r rune) bool { return r == '/' })...)
		for _, all := range u.Query() {
			values = append(values, all...)
		}
		if u.User != nil {
			password, _ := u.User.Password()
			values = append(values, u.User.Username(), password)
		}
		if strings.HasSuffix(Name(target), "://…") {
			values = append(values, u.Host, u.Hostname())
		}
	}
	return redact.New(values...)
}

// deliver sends one message. A sender that hangs is left behind: it knows no
// context.
func (t *target) deliver(ctx context.Context, m Message) error {
	return t.breaker.Do(ctx, mostWait, func(ctx context.Context) error {
		done := make(chan error, 1)
		go func() {
			params := types.Params{}
			params.SetTitle(m.Title)
			done <- errors.Join(t.sender.Send(m.Text, &params)...)
		}()
		select {
		case err := <-done:
			if err != nil {
				return &hiding{t.hide.Text(err.Error()), err}
			}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}
