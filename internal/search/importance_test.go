package search_test

import (
	"math"
	"testing"

	"ratchet/internal/research"
	"ratchet/internal/search"
	"ratchet/study"
)

// TestImportances: of a sum of parameters of known variance, each has its share, however
// much the search crowds where the sum is small; and what two do together is theirs.
func TestImportances(t *testing.T) {
	st := mixed(study.GP, 70, 1)
	st.Parameters = []study.Parameter{
		{Name: "a", Kind: study.Float, Low: 0, High: 1}, {Name: "b", Kind: study.Float, Low: 0, High: 1},
		{Name: "c", Kind: study.Categorical, Values: study.Values{"x", "y"}}, {Name: "none", Kind: study.Float, Low: 0, High: 1},
	}
	l := newLab(t, st)
	l.value = func(p study.Params, _ int64) (float64, research.Class) {
		a, b := p["a"].(float64), p["b"].(float64)
		y := 4*a + 2*b + 12*(a-0.5)*(b-0.5)
		if p["c"] == "x" {
			y++
		}
		return y, research.Succeeded
	}
	l.run(first)
	// Variances: 16/12, 4/12, 144/144 together, 1/4.
	whole := 16.0/12 + 4.0/12 + 1 + 1.0/4
	want := map[string]float64{"a": 16.0 / 12 / whole, "b": 4.0 / 12 / whole, "c": 1.0 / 4 / whole, "none": 0}
	is := search.Importances(l.s)
	if is[0].Parameter != "a" || len(is) != 4 {
		t.Errorf("the order is %v", is)
	}
	for _, i := range is {
		if w := want[i.Parameter]; math.Abs(i.Share-w) > 0.12 || i.Low > i.Share || i.High < i.Share || i.Total < i.Share-0.05 || i.N != 70 {
			t.Errorf("%+v, want a share of %.3f", i, w)
		}
	}
	if with := is[0].With; len(with) == 0 || with[0].Parameter != "b" || math.Abs(with[0].Share-1/whole) > 0.08 {
		t.Errorf("a with others: %v, want b with %.3f", with, 1/whole)
	}
	if got := search.Importances(newLab(t, st).s); len(got) != 4 || got[0].Share != 0 {
		t.Errorf("of nothing: %v", got)
	}
}
