package main

import (
	"fmt"
	"math"
	"math/rand/v2"

	"ratchet/study"
)

// problem is a function whose least value is known.
type problem struct {
	name       string
	parameters []study.Parameter
	value      func(p study.Params) float64
	least      float64
}

// reference are the five functions that the search was made with.
var reference = []problem{
	{"Branin", []study.Parameter{number("x0", -5, 10), number("x1", 0, 15)}, numbers(branin), 0.39788735772973816},
	{"Hartmann-6", box(0, 1, 6), numbers(hartmann), -3.322368011391339},
	{"Rosenbrock-4", box(-5, 10, 4), numbers(rosenbrock), 0},
	{"Ackley-10", box(-32.768, 32.768, 10), numbers(ackley), 0},
	{"mlp", []study.Parameter{
		choice("opt", "sgd", "adam", "rms"),
		logarithmic("lr", 1e-6, 1),
		when(number("mom", 0, 0.999), "opt", "sgd"),
		whole("width", 8, 1024, true),
		number("drop", 0, 0.9),
		whole("depth", 1, 8, false),
	}, mlp, 0},
}

// others are ten that were written down before the search was tried on any of them, and to
// which nothing was tuned after.
var others = []problem{
	{"Levy-8", box(-10, 10, 8), numbers(levy), 0},
	{"Rastrigin-5, off the middle", box(-3.12, 7.12, 5), numbers(rastrigin), 0},
	{"Griewank-6, off the middle", box(-400, 800, 6), numbers(griewank), 0},
	{"Styblinski-Tang-5", box(-5, 5, 5), numbers(styblinski), -39.16616570377142 * 5},
	{"Michalewicz-5", box(0, math.Pi, 5), numbers(michalewicz), -4.687658179088148},
	{"Goldstein-Price", box(-2, 2, 2), numbers(goldstein), 3},
	{"Shekel-10", box(0, 10, 4), numbers(shekel), -10.536443153483526},
	{"Zakharov-6", box(-5, 10, 6), numbers(zakharov), 0},
	{"six whole numbers", []study.Parameter{
		whole("x0", 1, 1000, true), whole("x1", 1, 1000, true), whole("x2", 0, 100, false),
		whole("x3", 0, 100, false), whole("x4", 1, 12, false), whole("x5", 1, 12, false),
	}, wholes, 0},
	{"svm", []study.Parameter{
		choice("kernel", "linear", "rbf", "poly"),
		logarithmic("C", 1e-3, 1e3),
		when(logarithmic("gamma", 1e-4, 10), "kernel", "rbf", "poly"),
		when(whole("degree", 2, 5, false), "kernel", "poly"),
		choice("scale", "none", "minmax", "standard"),
	}, svm, 0},
}

func number(name string, low, high float64) study.Parameter {
	return study.Parameter{Name: name, Kind: study.Float, Low: low, High: high}
}

func logarithmic(name string, low, high float64) study.Parameter {
	return study.Parameter{Name: name, Kind: study.Float, Low: low, High: high, Log: true}
}

func whole(name string, low, high float64, log bool) study.Parameter {
	return study.Parameter{Name: name, Kind: study.Int, Low: low, High: high, Log: log}
}

func choice(name string, values ...any) study.Parameter {
	return study.Parameter{Name: name, Kind: study.Categorical, Values: values}
}

func when(d study.Parameter, name string, values ...any) study.Parameter {
	d.When = map[string]study.Values{name: values}
	return d
}

func box(low, high float64, n int) (out []study.Parameter) {
	for i := range n {
		out = append(out, number(fmt.Sprint("x", i), low, high))
	}
	return out
}

func numbers(f func(x []float64) float64) func(study.Params) float64 {
	return func(p study.Params) float64 {
		x := make([]float64, len(p))
		for i := range x {
			x[i] = p[fmt.Sprint("x", i)].(float64)
		}
		return f(x)
	}
}

// deviation is the standard deviation of a problem's values over its space.
func (p problem) deviation() float64 {
	r := rand.New(rand.NewPCG(1, 2))
	const n = 20_000
	sum, squares := 0.0, 0.0
	for range n {
		y := p.value(anywhere(p.parameters, r))
		sum += y
		squares += y * y
	}
	return math.Sqrt(squares/n - sum/n*sum/n)
}

func anywhere(parameters []study.Parameter, r *rand.Rand) study.Params {
	p := study.Params{}
	for _, d := range parameters {
		if !d.Active(p) {
			continue
		}
		u := r.Float64()
		low, high := d.Low, d.High
		if d.Log {
			low, high = math.Log(low), math.Log(high)
		}
		switch x := low + u*(high-low); {
		case d.Kind == study.Categorical:
			p[d.Name] = d.Values[int(u*float64(len(d.Values)))]
		case d.Log:
			p[d.Name] = math.Exp(x)
		default:
			p[d.Name] = x
		}
		if x, ok := p[d.Name].(float64); ok && d.Kind == study.Int {
			p[d.Name] = math.Round(x)
		}
	}
	return p
}

func square(x float64) float64 { return x * x }

// Those of numbers alone are given by Surjanovic and Bingham, "Virtual Library of
// Simulation Experiments".

func branin(x []float64) float64 {
	return square(x[1]-5.1/(4*math.Pi*math.Pi)*x[0]*x[0]+5/math.Pi*x[0]-6) + 10*(1-1/(8*math.Pi))*math.Cos(x[0]) + 10
}

func hartmann(x []float64) (sum float64) {
	a := [4][6]float64{{10, 3, 17, 3.5, 1.7, 8}, {0.05, 10, 17, 0.1, 8, 14}, {3, 3.5, 1.7, 10, 17, 8}, {17, 8, 0.05, 10, 0.1, 14}}
	p := [4][6]float64{{1312, 1696, 5569, 124, 8283, 5886}, {2329, 4135, 8307, 3736, 1004, 9991}, {2348, 1451, 3522, 2883, 3047, 6650}, {4047, 8828, 8732, 5743, 1091, 381}}
	for i, c := range [4]float64{1, 1.2, 3, 3.2} {
		d := 0.0
		for j := range 6 {
			d += a[i][j] * square(x[j]-p[i][j]*1e-4)
		}
		sum -= c * math.Exp(-d)
	}
	return sum
}

func rosenbrock(x []float64) (sum float64) {
	for i := range len(x) - 1 {
		sum += 100*square(x[i+1]-x[i]*x[i]) + square(1-x[i])
	}
	return sum
}

func ackley(x []float64) float64 {
	s, c, n := 0.0, 0.0, float64(len(x))
	for _, v := range x {
		s += v * v
		c += math.Cos(2 * math.Pi * v)
	}
	return -20*math.Exp(-0.2*math.Sqrt(s/n)) - math.Exp(c/n) + 20 + math.E
}

func levy(x []float64) float64 {
	w := func(i int) float64 { return 1 + (x[i]-1)/4 }
	last := len(x) - 1
	sum := square(math.Sin(math.Pi*w(0))) + square(w(last)-1)*(1+square(math.Sin(2*math.Pi*w(last))))
	for i := range last {
		sum += square(w(i)-1) * (1 + 10*square(math.Sin(math.Pi*w(i)+1)))
	}
	return sum
}

func rastrigin(x []float64) (sum float64) {
	for _, v := range x {
		sum += v*v - 10*math.Cos(2*math.Pi*v) + 10
	}
	return sum
}

func griewank(x []float64) float64 {
	sum, product := 0.0, 1.0
	for i, v := range x {
		sum += v * v / 4000
		product *= math.Cos(v / math.Sqrt(float64(i+1)))
	}
	return sum - product + 1
}

func styblinski(x []float64) (sum float64) {
	for _, v := range x {
		sum += (v*v*v*v - 16*v*v + 5*v) / 2
	}
	return sum
}

func michalewicz(x []float64) (sum float64) {
	for i, v := range x {
		sum -= math.Sin(v) * math.Pow(math.Sin(float64(i+1)*v*v/math.Pi), 20)
	}
	return sum
}

func goldstein(x []float64) float64 {
	a, b := x[0], x[1]
	return (1 + square(a+b+1)*(19-14*a+3*a*a-14*b+6*a*b+3*b*b)) *
		(30 + square(2*a-3*b)*(18-32*a+12*a*a+48*b-36*a*b+27*b*b))
}

func shekel(x []float64) (sum float64) {
	beta := [10]float64{1, 2, 2, 4, 4, 6, 3, 7, 5, 5}
	c := [4][10]float64{{4, 1, 8, 6, 3, 2, 5, 8, 6, 7}, {4, 1, 8, 6, 7, 9, 3, 1, 2, 3.6}, {4, 1, 8, 6, 3, 2, 5, 8, 6, 7}, {4, 1, 8, 6, 7, 9, 3, 1, 2, 3.6}}
	for i := range 10 {
		d := beta[i] / 10
		for j := range 4 {
			d += square(x[j] - c[j][i])
		}
		sum -= 1 / d
	}
	return sum
}

func zakharov(x []float64) float64 {
	a, b := 0.0, 0.0
	for i, v := range x {
		a += v * v
		b += 0.5 * float64(i+1) * v
	}
	return a + b*b + b*b*b*b
}

// The rest are of the kind that training programs have.

// mlp is a surface in the manner of a small network's loss.
func mlp(p study.Params) float64 {
	of := func(name string) float64 { v, _ := p[name].(float64); return v }
	l, w, depth := math.Log10(of("lr")), math.Log2(of("width")), of("depth")
	best, base := -3.0, 0.02
	switch p["opt"] {
	case "rms":
		best, base = -3.5, 0.05
	case "sgd":
		best, base = -1-1.5*of("mom"), 0.08*(1-of("mom"))
	}
	return base + 0.05*square(l-best+0.15*(depth-3)) + 0.01*square(w-8) + 0.3*square(of("drop")-0.2-0.03*(w-8)) + 0.01*square(depth-3)
}

func wholes(p study.Params) float64 {
	of := func(i int) float64 { return p[fmt.Sprint("x", i)].(float64) }
	return 3*square(math.Log(of(0)/37)) + square(math.Log(of(0)*of(1)/(37*450))) + square((of(2)-71)/10) +
		square((of(2)+of(3)-90)/20) + 2*math.Abs(of(4)-5) + math.Abs(of(4)+of(5)-14)
}

// svm is a surface in the manner of the error of a support vector machine.
func svm(p study.Params) float64 {
	of := func(name string) float64 { v, _ := p[name].(float64); return v }
	c, g := math.Log10(of("C")), math.Log10(max(of("gamma"), 1e-9))
	loss := 0.0
	switch p["kernel"] {
	case "linear":
		loss = 0.12 + 0.02*square(c+1)
	case "rbf":
		loss = 0.15*(1-math.Exp(-square(c+g)/2-square(g+1.5)/4)) + 0.01*math.Abs(c-1.5)
	case "poly":
		loss = 0.05 + 0.03*square(c+of("degree")*(g+1)) + 0.02*math.Abs(of("degree")-3)
	}
	switch p["scale"] {
	case "none":
		loss += 0.08
	case "minmax":
		loss += 0.02
	}
	return loss
}
