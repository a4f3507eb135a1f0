package gp

import "math"

// LogImprovement is the logarithm of the improvement that is expected below best where a
// value is normal with that mean and standard deviation, and its derivatives by the two. It
// is exact where the improvement is so small that its value would be 0: Ament, Daulton,
// Eriksson, Balandat and Bakshy, "Unexpected Improvements to Expected Improvement for
// Bayesian Optimization", NeurIPS 2023, section 4.1.
func LogImprovement(mean, sd, best float64) (value, byMean, bySD float64) {
	u := (best - mean) / sd
	// h(u) = φ(u) + u·Φ(u); its derivative is Φ(u).
	logH := logExpected(u)
	ratio := math.Exp(logNormal(u) - logH) // Φ/h
	// d log(sd·h)/d mean = -Φ/(h·sd); by sd: 1/sd - u·Φ/(h·sd)
	return logH + math.Log(sd), -ratio / sd, (1 - u*ratio) / sd
}

// LogBelow is the logarithm of the chance that a value is below a bound, where it is normal
// with that mean and standard deviation, and its derivatives by the two.
func LogBelow(mean, sd, bound float64) (value, byMean, bySD float64) {
	u := (bound - mean) / sd
	value = logNormal(u)
	ratio := math.Exp(-u*u/2 - logRootTau - value) // φ/Φ
	return value, -ratio / sd, -u * ratio / sd
}

const (
	logRootTau  = 0.9189385332046727417803297364056176398 // log √(2π)
	logRootHalf = 0.2257913526447274323630976149474410718 // log √(π/2)
)

// logExpected is log(φ(u) + u·Φ(u)).
func logExpected(u float64) float64 {
	switch {
	case u > -1:
		return math.Log(math.Exp(-u*u/2-logRootTau) + u*0.5*math.Erfc(-u/math.Sqrt2))
	case u > -1e6:
		return -u*u/2 - logRootTau + math.Log1p(-math.Exp(math.Log(scaledErfc(-u/math.Sqrt2)*-u)+logRootHalf))
	}
	return -u*u/2 - logRootTau - 2*math.Log(-u)
}

// logNormal is log Φ(u).
func logNormal(u float64) float64 {
	if u > -5 {
		return math.Log(0.5 * math.Erfc(-u/math.Sqrt2))
	}
	return -u*u/2 + math.Log(0.5*scaledErfc(-u/math.Sqrt2))
}

// scaledErfc is exp(x²)·erfc(x) for x > 0.
func scaledErfc(x float64) float64 {
	if x < 20 {
		return math.Exp(x*x) * math.Erfc(x)
	}
	y := 1 / (x * x) // the asymptotic series; its next term is below 1e-12
	return (1 - y/2*(1-3*y/2*(1-5*y/2*(1-7*y/2)))) / (x * math.Sqrt(math.Pi))
}
