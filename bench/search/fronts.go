package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"ratchet/internal/research"
	"ratchet/internal/search/pareto"
	"ratchet/study"
)

// weighing is a problem of several objectives, all to be low, whose Pareto front is known.
type weighing struct {
	name       string
	parameters []study.Parameter
	values     func(p study.Params) []float64
	// broken says by how much each constraint is broken; nil: there are none.
	broken    func(p study.Params) []float64
	reference []float64
	front     func() [][]float64 // points of the Pareto front, close together
}

// weighings are problems of the literature: Zitzler, Deb and Thiele ("Comparison of
// Multiobjective Evolutionary Algorithms", Evolutionary Computation 8, 2000), Fonseca and
// Fleming (1995), Deb, Thiele, Laumanns and Zitzler ("Scalable Multi-Objective Optimization
// Test Problems", CEC 2002), Binh and Korn (1997), Jain and Deb (2014), and one with choices
// and conditions.
var weighings = []weighing{
	{"ZDT1, 6 parameters", box(0, 1, 6), zdt(func(f, g float64) float64 { return g * (1 - math.Sqrt(f/g)) }), nil, []float64{1.1, 1.1}, curve(0, 1, func(t float64) []float64 { return []float64{t, 1 - math.Sqrt(t)} })},
	{"ZDT2, 6 parameters", box(0, 1, 6), zdt(func(f, g float64) float64 { return g * (1 - f*f/(g*g)) }), nil, []float64{1.1, 1.1}, curve(0, 1, func(t float64) []float64 { return []float64{t, 1 - t*t} })},
	{"ZDT3, 6 parameters", box(0, 1, 6), zdt(zdt3), nil, []float64{1.1, 1.1}, curve(0, 1, func(t float64) []float64 { return []float64{t, zdt3(t, 1)} })},
	{"Fonseca-Fleming, 3 parameters", box(-4, 4, 3), fonseca, nil, []float64{1.1, 1.1}, curve(-1/math.Sqrt(3), 1/math.Sqrt(3), func(t float64) []float64 {
		return fonseca(study.Params{"x0": t, "x1": t, "x2": t})
	})},
	{"DTLZ2, 3 objectives, 6 parameters", box(0, 1, 6), dtlz2(3), nil, []float64{1.1, 1.1, 1.1}, sphere},
	{"DTLZ7, 3 objectives, 6 parameters", box(0, 1, 6), dtlz7, nil, []float64{1, 1, 6.5}, func() (out [][]float64) {
		const n = 100
		for i := range n + 1 {
			for j := range n + 1 {
				out = append(out, dtlz7(study.Params{"x0": float64(i) / n, "x1": float64(j) / n, "x2": 0.0, "x3": 0.0, "x4": 0.0, "x5": 0.0}))
			}
		}
		return out
	}},
	{"choices and conditions", []study.Parameter{
		number("t", 0, 1), choice("opt", "sgd", "adam", "rms"), logarithmic("lr", 1e-6, 1),
		when(number("mom", 0, 0.999), "opt", "sgd"), whole("width", 8, 1024, true),
	}, mixture, nil, []float64{1.1, 1.1}, curve(0, 1, func(t float64) []float64 { return []float64{t, 1 - math.Sqrt(t)} })},
	{"Binh-Korn, 2 constraints", []study.Parameter{number("x0", 0, 5), number("x1", 0, 3)}, binh, binhBroken, []float64{140, 50}, curve(0, 1, func(t float64) []float64 {
		return binh(study.Params{"x0": 5 * t, "x1": min(5*t, 3)})
	})},
	{"C2-DTLZ2, 4 parameters, 1 constraint", box(0, 1, 4), dtlz2(2), c2, []float64{1.1, 1.1}, func() (out [][]float64) {
		for i := range 4001 {
			a := float64(i) / 4000 * math.Pi / 2
			if f := []float64{math.Cos(a), math.Sin(a)}; c2of(f) <= 0 {
				out = append(out, f)
			}
		}
		return out
	}},
}

// curve are points of a front of two objectives.
func curve(from, to float64, at func(t float64) []float64) func() [][]float64 {
	return func() (out [][]float64) {
		for i := range 4001 {
			out = append(out, at(from+(to-from)*float64(i)/4000))
		}
		return out
	}
}

// sphere are points of the eighth of a sphere.
func sphere() (out [][]float64) {
	const n = 60
	for i := range n + 1 {
		for j := range n + 1 {
			a, b := float64(i)/n*math.Pi/2, float64(j)/n*math.Pi/2
			out = append(out, []float64{math.Cos(a) * math.Cos(b), math.Cos(a) * math.Sin(b), math.Sin(a)})
		}
	}
	return out
}

func x(p study.Params, i int) float64 { return p[fmt.Sprint("x", i)].(float64) }

func zdt(second func(f, g float64) float64) func(study.Params) []float64 {
	return func(p study.Params) []float64 {
		g := 1.0
		for i := 1; i < len(p); i++ {
			g += 9 * x(p, i) / float64(len(p)-1)
		}
		return []float64{x(p, 0), second(x(p, 0), g)}
	}
}

func zdt3(f, g float64) float64 { return g * (1 - math.Sqrt(f/g) - f/g*math.Sin(10*math.Pi*f)) }

func fonseca(p study.Params) []float64 {
	a, b := 0.0, 0.0
	for i := range 3 {
		a += math.Pow(x(p, i)-1/math.Sqrt(3), 2)
		b += math.Pow(x(p, i)+1/math.Sqrt(3), 2)
	}
	return []float64{1 - math.Exp(-a), 1 - math.Exp(-b)}
}

func dtlz2(m int) func(study.Params) []float64 {
	return func(p study.Params) []float64 {
		g := 0.0
		for i := m - 1; i < len(p); i++ {
			g += math.Pow(x(p, i)-0.5, 2)
		}
		out := make([]float64, m)
		for j := range out {
			out[j] = 1 + g
			for i := range m - 1 - j {
				out[j] *= math.Cos(x(p, i) * math.Pi / 2)
			}
			if j > 0 {
				out[j] *= math.Sin(x(p, m-1-j) * math.Pi / 2)
			}
		}
		return out
	}
}

func dtlz7(p study.Params) []float64 {
	g := 1.0
	for i := 2; i < len(p); i++ {
		g += 9 * x(p, i) / float64(len(p)-2)
	}
	h := 3.0
	for i := range 2 {
		h -= x(p, i) / (1 + g) * (1 + math.Sin(3*math.Pi*x(p, i)))
	}
	return []float64{x(p, 0), x(p, 1), (1 + g) * h}
}

func binh(p study.Params) []float64 {
	a, b := x(p, 0), x(p, 1)
	return []float64{4*a*a + 4*b*b, (a-5)*(a-5) + (b-5)*(b-5)}
}

func binhBroken(p study.Params) []float64 {
	a, b := x(p, 0), x(p, 1)
	return []float64{(a-5)*(a-5) + b*b - 25, 7.7 - (a-8)*(a-8) - (b+3)*(b+3)}
}

func c2(p study.Params) []float64 { return []float64{c2of(dtlz2(2)(p))} }

func c2of(f []float64) float64 {
	const r = 0.2
	ends := min((f[0]-1)*(f[0]-1)+f[1]*f[1], (f[1]-1)*(f[1]-1)+f[0]*f[0]) - r*r
	middle := math.Pow(f[0]-1/math.Sqrt2, 2) + math.Pow(f[1]-1/math.Sqrt2, 2) - r*r
	return min(ends, middle)
}

func mixture(p study.Params) []float64 {
	g := math.Pow(math.Log10(p["lr"].(float64))+3, 2)/4 + math.Pow(math.Log2(p["width"].(float64))-7, 2)/16
	switch p["opt"] {
	case "sgd":
		g += 0.2 + math.Abs(p["mom"].(float64)-0.9)
	case "rms":
		g += 0.1
	}
	t := p["t"].(float64)
	return []float64{t, 1 + g - math.Sqrt(t/(1+g))*(1+g)}
}

// fronts measures what share of the hypervolume of the true front a search lacks.
func (b bench) fronts(only, methods, samplers, at string) {
	for _, p := range weighings {
		if only != "" && !slices.ContainsFunc(strings.Split(only, ","), func(s string) bool { return strings.Contains(p.name, s) }) {
			continue
		}
		full := pareto.Volume(p.front(), p.reference)
		lacks := func(front [][]float64) float64 { return 1 - pareto.Volume(front, p.reference)/full }
		if methods != "-" {
			for _, m := range strings.Split(methods, ",") {
				b.row(p.name, m, at, func(k uint64) (searched, error) { return b.ourFront(p, m, k, lacks) })
			}
		}
		if b.optuna != "" {
			for _, s := range strings.Split(samplers, ",") {
				b.row(p.name, "Optuna "+s, at, func(k uint64) (searched, error) { return b.theirFront(p, s, k, lacks) })
			}
		}
	}
}

// grown is how a front grows from outcome to outcome.
type grown struct {
	front [][]float64
	lacks func([][]float64) float64
	out   []float64
}

func (g *grown) add(values, broken []float64) {
	if !slices.ContainsFunc(broken, func(v float64) bool { return v > 0 }) {
		g.front = pareto.Keep(g.front, values)
	}
	g.out = append(g.out, g.lacks(g.front))
}

func (p weighing) breaks(x study.Params) []float64 {
	if p.broken == nil {
		return nil
	}
	return p.broken(x)
}

func (b bench) ourFront(p weighing, method string, k uint64, lacks func([][]float64) float64) (out searched, err error) {
	st := &study.Study{Parameters: p.parameters}
	for j := range p.reference {
		st.Objectives = append(st.Objectives, study.Objective{Metric: fmt.Sprint("f", j), Goal: study.Minimize})
	}
	st.Objective = st.Objectives[0]
	none := 0.0
	if p.broken != nil {
		for i := range p.broken(middle(p.parameters)) {
			st.Constraints = append(st.Constraints, study.Constraint{Metric: fmt.Sprint("c", i), AtMost: &none})
		}
	}
	g := grown{lacks: lacks}
	out.took, err = b.drive(st, method, k, func(x study.Params, _, _ int) map[string]float64 {
		values := map[string]float64{}
		for j, v := range p.values(x) {
			values[fmt.Sprint("f", j)] = v
		}
		for i, v := range p.breaks(x) {
			values[fmt.Sprint("c", i)] = v
		}
		return values
	}, func(s *research.State) {
		x := s.Experiments[len(g.out)].Parameters
		g.add(p.values(x), p.breaks(x))
	})
	out.regrets = g.out
	return out, err
}

func (b bench) theirFront(p weighing, sampler string, k uint64, lacks func([][]float64) float64) (out searched, err error) {
	g := grown{lacks: lacks}
	constraints := 0
	if p.broken != nil {
		constraints = len(p.broken(middle(p.parameters)))
	}
	out.took, err = b.optunas(p.parameters, sampler, k, len(p.reference), constraints, func(x study.Params, _ int) []float64 {
		values, broken := p.values(x), p.breaks(x)
		g.add(values, broken)
		return append(slices.Clone(values), broken...)
	})
	out.regrets = g.out
	return out, err
}

func middle(space []study.Parameter) study.Params {
	p := study.Params{}
	for _, d := range space {
		p[d.Name] = (d.Low + d.High) / 2
	}
	return p
}
