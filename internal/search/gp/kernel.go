// Package gp is regression by Gaussian processes, as Rasmussen and Williams give it
// ("Gaussian Processes for Machine Learning", MIT Press 2006), over points of numbers and
// of choices.
//
// The covariance of two points is a·m(r) with the Matérn function of smoothness 5/2 (there,
// equation 4.17), where r² is the sum over the axes of their distance by the length scale
// of the axis, squared: a length scale for each axis says how much it matters.
package gp

import "math"

// Absent is the coordinate of a parameter that does not exist at a point.
const Absent = -1

// Axis is a coordinate of points: a number from 0 to 1, or the number of one of several
// values without an order.
type Axis struct {
	Values int // 0: a number
}

// distance is the squared distance of two coordinates. It is that of points of a Euclidean
// space, so that kernels of it are positive definite: values of a choice are the corners of
// a simplex with sides of length 1, and what does not exist is the middle of the range, or
// of the simplex.
func (a Axis) distance(x, y float64) float64 {
	if a.Values > 0 {
		switch {
		case x == y:
			return 0
		case x == Absent || y == Absent:
			return 0.5 - 0.5/float64(a.Values)
		}
		return 1
	}
	d := middle(x) - middle(y)
	return d * d
}

// Distance is the squared distance of two points, all length scales 1.
func Distance(axes []Axis, x, y []float64) (sum float64) {
	for j, a := range axes {
		sum += a.distance(x[j], y[j])
	}
	return sum
}

func middle(x float64) float64 {
	if x == Absent {
		return 0.5
	}
	return x
}

const root5 = 2.23606797749978969640917366873127623544

// matern is the Matérn function of smoothness 5/2 of a squared distance, and minus its
// derivative by the squared distance.
func matern(r2 float64) (m, slope float64) {
	r := root5 * math.Sqrt(r2)
	e := math.Exp(-r)
	return (1 + r + r*r/3) * e, 5.0 / 6 * (1 + r) * e
}
