package gateway

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"
	"pgregory.net/rapid"

	"ratchet/internal/gateway/ledger"
	"ratchet/internal/gateway/provider"
	"ratchet/study"
)

// TestCallsAtTheSameTimeNeverOverspend: whatever is asked at the same time, and
// whatever each costs in the end, all together stay within every budget; and a
// budget is used as far as it reaches.
func TestCallsAtTheSameTimeNeverOverspend(t *testing.T) {
	b := newBench(t)
	b.settings.Prices["openai/m"] = ledger.Price{In: 1, Out: 10, CacheRead: 1, CacheWrite: 1, CacheHour: 1}
	b.upstream = func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		// What it costs: any part of what it may.
		in, out := gjson.GetBytes(body, "seed").Int()%50, gjson.GetBytes(body, "max_tokens").Int()
		fmt.Fprintf(w, `{"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d}}`, in, out*(gjson.GetBytes(body, "seed").Int()%5)/4)
	}
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		b.stop()
		b.options.Run = "r"
		cost := study.Money(rapid.Int64Range(3_000, 40_000).Draw(rt, "cost"))
		most := rapid.Int64Range(1, 30).Draw(rt, "calls")
		tokens := rapid.Int64Range(2_500, 40_000).Draw(rt, "tokens")
		b.start()
		spent := b.ledger.Summary().Spent
		b.stop()
		// The budgets are over all that the run has spent so far.
		b.options.Budgets = ledger.Budgets{
			Run:   ledger.Budget{Name: "limits.run", Cost: study.Money(spent.NanoUSD/1000) + cost, Calls: spent.Calls + most, Tokens: spent.Tokens + tokens},
			Model: map[string]ledger.Budget{"openai/m": {Cost: study.Money(spent.NanoUSD/1000) + cost/2*2}},
		}
		b.start()
		var wait sync.WaitGroup
		n := rapid.IntRange(1, 24).Draw(rt, "at the same time")
		refused := make(chan string, n)
		for i := range n {
			size := rapid.IntRange(1, 400).Draw(rt, "max_tokens")
			wait.Go(func() {
				body := fmt.Sprintf(`{"model":"m","seed":%d,"max_tokens":%d,"messages":[{"role":"user","content":"%d %d"}]}`, i, size, round, i)
				resp, text, err := b.do("t1-a1", "/v1/chat/completions", body)
				switch {
				case err != nil:
					refused <- err.Error()
				case resp.StatusCode == http.StatusTooManyRequests && gjson.Get(text, "error.code").String() == "insufficient_quota" && resp.Header.Get("X-Should-Retry") == "false":
				case resp.StatusCode != 200:
					refused <- text
				}
			})
		}
		wait.Wait()
		close(refused)
		for text := range refused {
			rt.Errorf("a call got %s", text)
		}
		b.stop() // the last call has released its reservation
		now := b.ledger.Summary().Spent
		limit := b.options.Budgets.Run
		if now.NanoUSD > ledger.NanoUSD(limit.Cost) || now.Calls > limit.Calls || now.Tokens > limit.Tokens {
			rt.Errorf("%+v were spent of %+v", now, limit)
		}
		if held := b.ledger.Held(); held != now {
			rt.Errorf("the reservations do not come out even: %+v, %+v", held, now)
		}
	})
}

func TestABudgetThatIsSpentPausesAndGoesOn(t *testing.T) {
	b := newBench(t)
	b.options.Budgets.Run = ledger.Budget{Name: "limits.run", Calls: 1}
	b.upstream = func(w http.ResponseWriter, r *http.Request) { b.chat(b.seen.Load())(w, r) }
	b.restart()
	b.post("t1-a1", "/v1/chat/completions", hello)
	resp, text := b.post("t1-a1", "/v1/messages", `{"model":"claude-haiku-4-5","max_tokens":5,"messages":[]}`)
	if resp.StatusCode != 429 || gjson.Get(text, "type").String() != "error" || !strings.Contains(gjson.Get(text, "error.message").String(), "limits.run.calls is 1") {
		t.Errorf("the second call got %d %s", resp.StatusCode, text)
	}
	if len(b.troubles) != 1 || !strings.HasPrefix(b.troubles[0], "quota: limits.run.calls") {
		t.Errorf("the run was told %q", b.troubles)
	}
	b.options.Budgets.Run.Calls = 2
	b.restart()
	// What was paid for costs nothing; what is new has room again.
	if _, text := b.post("t1-a2", "/v1/chat/completions", hello); text != chatAnswer(1) {
		t.Errorf("the first call gave %s", text)
	}
	if _, text := b.post("t1-a2", "/v1/chat/completions", hello); text != chatAnswer(2) {
		t.Errorf("new ground gave %s", text)
	}
}

func TestAModelWithoutAPriceIsRefused(t *testing.T) {
	b := newBench(t)
	b.upstream = b.chat(1)
	body := strings.ReplaceAll(hello, "gpt-4o-mini", "nobody-knows-it")
	if resp, text := b.post("t1-a1", "/v1/chat/completions", body); resp.StatusCode != 400 || !strings.Contains(text, "models.prices") || b.seen.Load() != 0 {
		t.Errorf("it got %d %s", resp.StatusCode, text)
	}
	b.settings.AllowUnpriced = true
	if resp, text := b.post("t1-a1", "/v1/chat/completions", body); resp.StatusCode != 200 {
		t.Errorf("allowed, it got %d %s", resp.StatusCode, text)
	}
}

// TestAToolWithoutABoundIsRefused: where money or tokens are bounded, a tool
// that the provider runs must be allowed.
func TestAToolWithoutABoundIsRefused(t *testing.T) {
	b := newBench(t)
	b.upstream = b.chat(1)
	with := func(tools string) string { return strings.Replace(hello, "{", "{"+tools+",", 1) }
	search := with(`"tools":[{"type":"function","function":{"name":"f"}},{"type":"web_search"}]`)
	ask := func(what, body string, want int) {
		t.Helper()
		if resp, text := b.post("t1-a1", "/v1/chat/completions", body); resp.StatusCode != want || want == 400 && !strings.Contains(text, "models.allow_unpriced") {
			t.Errorf("%s: it got %d %s", what, resp.StatusCode, text)
		}
	}
	ask("nothing is bounded", search, 200)
	b.options.Budgets.Run = ledger.Budget{Name: "limits.run", Calls: 100}
	b.restart()
	ask("calls are", strings.Replace(search, "hello", "again", 1), 200)
	b.options.Budgets.Run.Tokens = 1_000_000
	b.restart()
	ask("tokens are", strings.Replace(search, "hello", "once more", 1), 400)
	ask("an option", with(`"web_search_options":{}`), 400)
	ask("the program's own tools", with(`"tools":[{"type":"function","function":{"name":"f"}},{"type":"custom","custom":{"name":"g"}},{"name":"h"}]`), 200)
	unknown := with(`"tools":[{"type":"lookup_20270101"}]`)
	ask("a type that is not known", unknown, 400)
	b.options.ClientTools = []string{"lookup_20270101", "web_search"}
	b.restart()
	ask("a type that the study names", unknown, 200)
	ask("a type that it cannot name", strings.Replace(search, "hello", "and once more", 1), 400)
	b.settings.AllowUnpriced = true
	ask("allowed", strings.Replace(search, "hello", "and again", 1), 200)
}

// TestWhatTheDayCost is counted by all gateways of a home, and over restarts.
func TestWhatTheDayCost(t *testing.T) {
	now := time.Date(2026, 11, 25, 23, 59, 0, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "models.json")
	clock := func() time.Time { return now }
	day := ledger.Budget{Name: "models.budget.day", Calls: 3}
	one, two := NewShared(path, clock), NewShared(path, clock)
	for i := range 4 {
		_, err := []*Shared{one, two}[i%2].reserveDay(day, ledger.Spending{Calls: 1})
		if (err != nil) != (i == 3) {
			t.Errorf("call %d: %v", i+1, err)
		}
	}
	now = now.Add(2 * time.Minute)
	if _, err := NewShared(path, clock).reserveDay(day, ledger.Spending{Calls: 1}); err != nil {
		t.Errorf("on the next day: %v", err)
	}
}

// TestRatesHold: in no stretch of a minute are there more requests than the
// limits of a provider and of a model say, whichever gateway makes them; and what waits is
// let through in time.
func TestRatesHold(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		path := filepath.Join(t.TempDir(), "models.json")
		most := map[string]int64{"": rapid.Int64Range(1, 8).Draw(rt, "of all"), "m": rapid.Int64Range(1, 8).Draw(rt, "of m"), "other": 1000}
		p := &provider.Provider{
			Name: "p", Limits: provider.Limits{Requests: provider.Rates{PerMinute: most[""]}}, Models: map[string]provider.Limits{"m": {Requests: provider.Rates{PerMinute: most["m"]}}},
		}
		let := map[string][]time.Time{}
		for range 60 {
			s := NewShared(path, func() time.Time { return now }) // each in a process of its own
			model := rapid.SampledFrom([]string{"m", "other"}).Draw(rt, "model")
			wait, err := s.try(p, model, 1)
			if err != nil {
				rt.Fatal(err)
			}
			if wait > 0 {
				if wait > 62*time.Second {
					rt.Fatalf("it is to wait %s", wait)
				}
				now = now.Add(wait)
				if wait, err = s.try(p, model, 1); err != nil || wait > 0 {
					rt.Fatalf("after the time it was told, it is to wait %s more, %v", wait, err)
				}
			}
			for _, of := range []string{"", model} {
				let[of] = append(let[of], now)
				if n := len(let[of]) - int(most[of]) - 1; n >= 0 && now.Sub(let[of][n]) < time.Minute {
					rt.Fatalf("%d requests of %q within %s", most[of]+1, of, now.Sub(let[of][n]))
				}
			}
			now = now.Add(time.Duration(rapid.IntRange(0, 20_000).Draw(rt, "later")) * time.Millisecond)
		}
	})
}
