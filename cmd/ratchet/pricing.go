package main

import (
	"github.com/spf13/cobra"

	"ratchet"
	"ratchet/study"
)

// pricing are the flags that say what models cost.
type pricing struct {
	prices []string
	allow  bool
}

func (p *pricing) flags(c *cobra.Command) {
	c.Flags().StringArrayVar(&p.prices, "price", nil, "what a model without a known price costs: PROVIDER/MODEL=IN,OUT, in US dollars for a million tokens")
	c.Flags().BoolVar(&p.allow, "allow-unpriced", false, "call models without a known price, and tools whose cost has no bound: budgets of money do not hold then")
}

func (p *pricing) read() (ratchet.Pricing, error) {
	out := ratchet.Pricing{AllowUnpriced: p.allow}
	for _, text := range p.prices {
		model, price, err := study.ParseModelPrice(text)
		if err != nil {
			return out, usageError{err}
		}
		if out.Prices == nil {
			out.Prices = map[string]study.ModelPrice{}
		}
		out.Prices[model] = price
	}
	return out, nil
}
