package provider

import (
	_ "embed"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"ratchet/internal/gateway/ledger"
	"ratchet/internal/gateway/protocol"
)

// PricesOf is the date of the table of prices.
const PricesOf = "2026-09-23"

//go:embed prices.tsv
var pricesTable string

// priceLine is a line of the table: models of a provider, and their price.
type priceLine struct {
	how, model string
	ledger.Price
}

func (l priceLine) fits(model string) bool {
	switch l.how {
	case "is":
		return model == l.model
	case "begins":
		return strings.HasPrefix(model, l.model)
	case "has":
		return strings.Contains(model, l.model)
	}
	ok, err := regexp.MatchString(l.model, model)
	return err == nil && ok
}

// priceLines are the table by provider.
var priceLines = sync.OnceValue(func() map[string][]priceLine {
	out := map[string][]priceLine{}
	for line := range strings.Lines(pricesTable) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if strings.HasPrefix(line, "#") || len(f) != 12 {
			continue
		}
		n := make([]float64, len(f))
		for i := 3; i < len(f); i++ {
			n[i], _ = strconv.ParseFloat(f[i], 64) // a test reads every line
		}
		out[f[0]] = append(out[f[0]], priceLine{f[1], f[2], ledger.Price{
			In: n[3], Out: n[4], CacheRead: n[5], CacheWrite: n[6], CacheHour: n[7],
			LongFrom: int64(n[8]), LongIn: n[9], LongOut: n[10], MaxOutput: int64(n[11]),
		}})
	}
	return out
})

// tiers are what OpenAI charges for a tier of its service, as a multiple of the table's
// prices: for priority at most, https://platform.openai.com/docs/pricing. Anthropic's
// priority is paid for beforehand, and costs what the standard does.
var tiers = map[string]float64{"priority": 2, "flex": 0.5, "batch": 0.5}

// TierFactor is what a tier of the provider's service costs, as a multiple of its
// prices.
func (p *Provider) TierFactor(tier string) float64 {
	if factor, ok := tiers[tier]; ok && p.Protocol == protocol.OpenAI && (p.Prices == "openai" || p.Prices == "azure") {
		return factor
	}
	return 1
}

// PriceOf looks a model's price up: in the settings, by provider/model, then in
// the table. An exact name goes before a form. source is where it was found.
func (s *Settings) PriceOf(p *Provider, model string) (price ledger.Price, source string, known bool) {
	if price, ok := s.Prices[p.Name+"/"+model]; ok {
		return price, "settings", true
	}
	if p.Free {
		return ledger.Price{}, "free", true
	}
	if p.Name == "openrouter" && strings.HasSuffix(model, ":free") {
		return ledger.Price{}, "free", true
	}
	lines := priceLines()[p.Prices]
	if p.Prices == "azure" { // what Azure's table has not, costs as much as at OpenAI
		lines = slices.Concat(lines, priceLines()["openai"])
	}
	for _, exact := range []bool{true, false} {
		for _, l := range lines {
			if (l.how == "is") == exact && l.fits(model) {
				return l.Price, PricesOf, true
			}
		}
	}
	return ledger.Price{}, "", false
}
