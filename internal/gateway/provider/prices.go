package provider

import (
	_ "embed"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"ratchet/internal/gateway/ledger"
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

// PriceOf looks a model's price up: in the settings, by provider/model, then in
// the table. An exact name goes before a form. source is where it was found.
func (s *Settings) PriceOf(p *Provider, model string) (price ledger.Price, source string, known bool) {
	if price, ok := s.Prices[p.Name+"/"+model]; ok {
		return price, "settings", true
	}
	if p.Free {
		return ledger.Price{}, "free", true
	}
	lines := priceLines()[p.Prices]
	for _, exact := range []bool{true, false} {
		for _, l := range lines {
			if (l.how == "is") == exact && l.fits(model) {
				return l.Price, PricesOf, true
			}
		}
	}
	return ledger.Price{}, "", false
}
