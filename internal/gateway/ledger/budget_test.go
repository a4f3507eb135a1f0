package ledger

import (
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ratchet/study"
)

// TestEnough: with the bound that a refusal names, the call fits, and the bound is at
// least twice what it was.
func TestEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := Budget{Name: "limits.run"}
		switch rapid.IntRange(0, 2).Draw(t, "what") {
		case 0:
			b.Cost = study.Money(rapid.Int64Range(1, 1e12).Draw(t, "cost"))
		case 1:
			b.Tokens = rapid.Int64Range(1, 1e12).Draw(t, "tokens")
		case 2:
			b.Calls = rapid.Int64Range(1, 1e9).Draw(t, "calls")
		}
		most := func(of string) Spending {
			return Spending{rapid.Int64Range(0, 1e15).Draw(t, of), rapid.Int64Range(0, 1e12).Draw(t, of), rapid.Int64Range(0, 1e9).Draw(t, of)}
		}
		spent, more := most("spent"), most("more")
		if b.Calls > 0 { // one by one
			spent.Calls, more.Calls = b.Calls, 1
		}
		refused := b.Refuses(spent, more)
		if refused == nil {
			return
		}
		raised := b
		switch refused.Key {
		case "cost":
			m, err := study.ParseMoney(refused.Enough)
			if err != nil || m < 2*b.Cost {
				t.Fatalf("%q is not twice %s (%v)", refused.Enough, b.Cost, err)
			}
			raised.Cost = m
		case "tokens", "calls":
			n, err := strconv.ParseInt(refused.Enough, 10, 64)
			if err != nil || n < 2*max(b.Tokens, b.Calls) {
				t.Fatalf("%q is not twice what it was (%v)", refused.Enough, err)
			}
			raised.Tokens, raised.Calls = n*min(1, b.Tokens), n*min(1, b.Calls)
		}
		if again := raised.Refuses(spent, more); again != nil {
			t.Fatalf("with %s the call does not fit: %s", refused.Enough, again.Why)
		}
		if digits := strings.Trim(strings.TrimSuffix(refused.Enough, "USD"), "0."); len(strings.ReplaceAll(digits, ".", "")) > 2 {
			t.Fatalf("%q has more than two digits that count", refused.Enough)
		}
	})
}
