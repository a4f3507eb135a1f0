package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"ratchet/internal/journal"
)

// dying is a journal whose machine loses its power at an append: what was
// appended before is there, and no error is reported any more.
type dying struct {
	journal.Journal
	mu    sync.Mutex
	left  int  // appends before it happens
	lands bool // the last one is on disk, and only the answer is lost
	dead  bool
}

var errDead = errors.New("the machine lost its power")

func (d *dying) Append(ctx context.Context, c journal.Chain, head journal.Head, entries ...journal.Entry) (journal.Head, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left--; d.left >= 0 {
		return d.Journal.Append(ctx, c, head, entries...)
	}
	if !d.dead && d.lands {
		_, _ = d.Journal.Append(ctx, c, head, entries...)
	}
	d.dead = true
	return journal.Head{}, errDead
}

// TestKilledAtEveryAppend: wherever an engine dies, a program that is started
// again is answered as before as far as it was answered, no call is made twice
// but those that were with the provider, and these are counted.
func TestKilledAtEveryAppend(t *testing.T) {
	questions := []string{"a", "b", "a", "c", "a", "d"}
	for _, lands := range []bool{false, true} {
		deaths := 0
		for left := 0; ; left++ {
			b := newBench(t)
			b.settings.Retries = 0
			b.upstream = func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, `{"choices":[{"message":{"content":"answer %d"}}],"usage":{"prompt_tokens":10,"completion_tokens":5}}`, b.seen.Load())
			}
			disk := b.log
			d := &dying{Journal: disk, left: left, lands: lands}
			b.log = d
			b.restart()
			ask := func(attempt string) (answers []string) {
				for _, q := range questions {
					resp, body, err := b.do(attempt, "/v1/chat/completions", `{"model":"gpt-4o-mini","max_tokens":20,"messages":[{"role":"user","content":"`+q+`"}]}`)
					if err != nil || resp.StatusCode != http.StatusOK {
						break
					}
					answers = append(answers, body)
				}
				return answers
			}
			before := ask("t1-a1")
			b.stop()
			d.mu.Lock()
			died := d.dead
			d.mu.Unlock()
			if died {
				deaths++
			}

			b.log = disk
			b.start()
			after := ask("t1-a2")
			if len(after) != len(questions) {
				t.Fatalf("killed at append %d: %d questions of %d were answered afterwards", left, len(after), len(questions))
			}
			for i, answer := range before {
				if after[i] != answer {
					t.Errorf("killed at append %d: question %d was answered with %s, and afterwards with %s", left, i, answer, after[i])
				}
			}
			sum := b.ledger.Summary()
			if sent := int(b.seen.Load()); sum.Calls != len(questions) || sent > len(questions)+sum.Lost || sum.Lost > 1 {
				t.Errorf("killed at append %d: %d requests reached the provider, of %d calls on record, %d of them lost", left, sent, sum.Calls, sum.Lost)
			}
			b.stop()
			if !died {
				break
			}
		}
		if deaths < 2*len(questions) {
			t.Errorf("it was killed only %d times", deaths)
		}
	}
}
