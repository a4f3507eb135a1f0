package search

import (
	"fmt"
	"math/bits"
	"math/rand/v2"

	"ratchet/study"
)

// sobolTable are, for the dimensions after the first, a primitive polynomial over the field
// of two elements, by the bits of its coefficients, and the first direction numbers: those
// of Joe and Kuo, "Constructing Sobol Sequences with Better Two-Dimensional Projections",
// SIAM Journal on Scientific Computing 30, 2008 (new-joe-kuo-6.21201).
var sobolTable = [][]uint32{
	{3, 1}, {7, 1, 3}, {11, 1, 3, 1}, {13, 1, 1, 1}, {19, 1, 1, 3, 3}, {25, 1, 3, 5, 13}, {37, 1, 1, 5, 5, 17}, {41, 1, 1, 5, 5, 5},
	{47, 1, 1, 7, 11, 19}, {55, 1, 1, 5, 1, 1}, {59, 1, 1, 1, 3, 11}, {61, 1, 3, 5, 5, 31}, {67, 1, 3, 3, 9, 7, 49}, {91, 1, 1, 1, 15, 21, 21},
	{97, 1, 3, 1, 13, 27, 49}, {103, 1, 1, 1, 15, 7, 5}, {109, 1, 3, 1, 15, 13, 25}, {115, 1, 1, 5, 5, 19, 61}, {131, 1, 3, 7, 11, 23, 15, 103},
	{137, 1, 3, 7, 13, 13, 15, 69}, {143, 1, 1, 3, 13, 7, 35, 63}, {145, 1, 3, 5, 9, 1, 25, 53}, {157, 1, 3, 1, 13, 9, 35, 107},
	{167, 1, 3, 1, 5, 27, 61, 31}, {171, 1, 1, 5, 11, 19, 41, 61}, {185, 1, 3, 5, 3, 3, 13, 69}, {191, 1, 1, 7, 13, 1, 19, 1},
	{193, 1, 3, 7, 5, 13, 19, 59}, {203, 1, 1, 3, 9, 25, 29, 41}, {211, 1, 3, 5, 13, 23, 1, 55}, {213, 1, 3, 7, 3, 13, 59, 17},
	{229, 1, 3, 1, 3, 5, 53, 69}, {239, 1, 1, 5, 5, 23, 33, 13}, {241, 1, 1, 7, 7, 1, 61, 123}, {247, 1, 1, 7, 9, 13, 61, 49},
	{253, 1, 3, 3, 5, 3, 55, 33}, {285, 1, 3, 1, 15, 31, 13, 49, 245}, {299, 1, 3, 5, 15, 31, 59, 63, 97}, {301, 1, 3, 1, 11, 11, 11, 77, 249},
	{333, 1, 3, 1, 11, 27, 43, 71, 9}, {351, 1, 1, 7, 15, 21, 11, 81, 45}, {355, 1, 3, 7, 3, 25, 31, 65, 79}, {357, 1, 3, 1, 1, 19, 11, 3, 205},
	{361, 1, 1, 5, 9, 19, 21, 29, 157}, {369, 1, 3, 7, 11, 1, 33, 89, 185}, {391, 1, 3, 3, 3, 15, 9, 79, 71}, {397, 1, 3, 7, 11, 15, 39, 119, 27},
	{425, 1, 1, 3, 1, 11, 31, 97, 225}, {451, 1, 1, 1, 3, 23, 43, 57, 177}, {463, 1, 3, 7, 7, 17, 17, 37, 71}, {487, 1, 3, 1, 5, 27, 63, 123, 213},
	{501, 1, 1, 3, 5, 11, 43, 53, 133}, {529, 1, 3, 5, 5, 29, 17, 47, 173, 479}, {539, 1, 3, 3, 11, 3, 1, 109, 9, 69},
	{545, 1, 1, 1, 5, 17, 39, 23, 5, 343}, {557, 1, 3, 1, 5, 25, 15, 31, 103, 499}, {563, 1, 1, 1, 11, 11, 17, 63, 105, 183},
	{601, 1, 1, 5, 11, 9, 29, 97, 231, 363}, {607, 1, 1, 5, 15, 19, 45, 41, 7, 383}, {617, 1, 3, 7, 7, 31, 19, 83, 137, 221},
	{623, 1, 1, 1, 3, 23, 15, 111, 223, 83}, {631, 1, 1, 5, 13, 31, 15, 55, 25, 161}, {637, 1, 1, 3, 13, 25, 47, 39, 87, 257},
}

// sobolBits is how many bits of a coordinate differ between points.
const sobolBits = 30

// sobol gives a coordinate of the i-th point of a Sobol sequence, in [0, 1): of any 2^k
// points that follow each other from a multiple of 2^k on, each of 2^k slices of a range has
// one. The sequence is scrambled for each seed (a random linear matrix and a digital shift:
// Matousek, "On the L2-Discrepancy for Anchored Boxes", Journal of Complexity 14, 1998).
// Dimensions beyond those of the table are drawn at random.
func sobol(seed int64, dimension int, name string, i int) float64 {
	if dimension > len(sobolTable) {
		return newRand(seed, fmt.Sprintf("sobol %s %d", name, i)).Float64()
	}
	r := newRand(seed, "sobol "+name)
	var x uint32
	directions := sobolDirections(dimension)
	gray := uint32(i) ^ uint32(i)>>1
	for k := range sobolBits {
		if gray>>k&1 == 1 {
			x ^= directions[k]
		}
	}
	return (float64(scramble(x, r)) + r.Float64()) / (1 << sobolBits)
}

// scramble multiplies the bits of x with a random lower triangular matrix of ones on the
// diagonal, and flips some.
func scramble(x uint32, r *rand.Rand) uint32 {
	out := r.Uint32() >> (32 - sobolBits)
	for k := range sobolBits { // the k-th bit from the top
		bit := uint32(1) << (sobolBits - 1 - k)
		above := ^(bit<<1 - 1) & (1<<sobolBits - 1)
		row := bit | r.Uint32()&above
		out ^= uint32(bits.OnesCount32(x&row)&1) * bit
	}
	return out
}

func sobolDirections(dimension int) (v [sobolBits]uint32) {
	if dimension == 0 {
		for k := range v {
			v[k] = 1 << (sobolBits - 1 - k)
		}
		return v
	}
	polynomial, m := sobolTable[dimension-1][0], sobolTable[dimension-1][1:]
	degree := len(m)
	for k := range v {
		if k < degree {
			v[k] = m[k] << (sobolBits - 1 - k)
			continue
		}
		v[k] = v[k-degree] ^ v[k-degree]>>degree
		for j := 1; j < degree; j++ {
			if polynomial>>(degree-j)&1 == 1 {
				v[k] ^= v[k-j]
			}
		}
	}
	return v
}

// sobol is the configuration at the i-th point of a sequence.
func (sp space) sobol(seed int64, i int, fixed study.Params) study.Params {
	dimension := map[string]int{}
	for j, d := range sp.parameters {
		dimension[d.Name] = j
	}
	return sp.each(fixed, func(d study.Parameter) any { return quantile(d, sobol(seed, dimension[d.Name], d.Name, i)) })
}
