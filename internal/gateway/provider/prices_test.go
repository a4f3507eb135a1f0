package provider

import (
	"strings"
	"testing"

	"ratchet/internal/gateway/ledger"
)

// TestTheTableOfPrices: every line is read, and what it says is possible.
func TestTheTableOfPrices(t *testing.T) {
	n := 0
	for provider, lines := range priceLines() {
		for _, l := range lines {
			n++
			if l.In < 0 || l.Out < 0 || l.CacheRead > max(l.In, l.CacheRead) || l.LongFrom > 0 && (l.LongIn < 1 || l.LongOut < 1) {
				t.Errorf("%s: %+v", provider, l)
			}
		}
	}
	if want := strings.Count(pricesTable, "\n") - strings.Count(pricesTable, "#"); n < want-1 {
		t.Errorf("%d lines of %d were read", n, want)
	}
	s, err := DefaultSettings()
	if err != nil {
		t.Fatal(err)
	}
	for model, want := range map[string]ledger.Price{
		"openai/gpt-4o-mini":        {In: 0.15, Out: 0.6, CacheRead: 0.075, CacheWrite: 0.15, CacheHour: 0.15, MaxOutput: 16384, LongIn: 1, LongOut: 1},
		"anthropic/claude-opus-4-5": {In: 5, Out: 25, CacheRead: 0.5, CacheWrite: 6.25, CacheHour: 10, MaxOutput: 200000, LongIn: 1, LongOut: 1},
	} {
		p, name, _ := strings.Cut(model, "/")
		if got, source, ok := s.PriceOf(s.Providers[p], name); !ok || got != want || source != PricesOf {
			t.Errorf("%s: %+v", model, got)
		}
	}
}
