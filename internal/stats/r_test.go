package stats

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"ratchet/internal/proof"
)

// inR prints, for each line with a level and values, Student's interval and p
// value, Hall's interval with the sample's skewness in it, and Wilcoxon's p.
const inR = `
lines <- readLines(file("stdin"))
for (line in lines) {
  x <- as.numeric(strsplit(line, " ")[[1]])
  level <- x[1]; x <- x[-1]; n <- length(x)
  t <- t.test(x, conf.level = level)
  a <- mean((x - mean(x))^3) / mean((x - mean(x))^2)^1.5
  g <- function(mu) { w <- (mean(x) - mu) / sd(x); w + a*w^2/3 + a^2*w^3/27 + a/(6*n) }
  q <- qt(1 - (1 - level)/2, n - 1) / sqrt(n)
  reach <- 1000 * sd(x)
  end <- function(value) uniroot(function(mu) g(mu) - value, c(mean(x) - reach, mean(x) + reach), tol = 1e-12 * sd(x))$root
  w <- suppressWarnings(wilcox.test(x, exact = !any(duplicated(abs(x))) && all(x != 0))$p.value)
  cat(sprintf("%.17g ", c(t$conf.int[1], t$conf.int[2], t$p.value, end(q), end(-q), w)), "\n", sep = "")
}
cat(sprintf("%.17g ", p.adjust(c(0.04, 0.01, 0.03, 0.02), "holm")), "\n", sep = "")
`

// TestAgainstR: the figures are those of R, on samples of many kinds.
func TestAgainstR(t *testing.T) {
	path, err := exec.LookPath("Rscript")
	if err != nil {
		t.Skip("Rscript is not there: Debian's package r-base-core has it")
	}
	type asked struct {
		level float64
		x     []float64
	}
	r := rand.New(rand.NewPCG(5, 6))
	var cases []asked
	var in bytes.Buffer
	for range proof.Of(20, 300) {
		c := asked{level: []float64{0.9, 0.95, 0.999}[r.IntN(3)]}
		scale := math.Pow(10, float64(r.IntN(13)-6))
		skewed := r.IntN(2) == 0
		for range 3 + r.IntN(40) {
			v := r.NormFloat64() + 0.3
			if skewed {
				v = math.Exp(v) - 1
			}
			c.x = append(c.x, scale*v)
		}
		cases = append(cases, c)
		fmt.Fprint(&in, c.level)
		for _, v := range c.x {
			fmt.Fprintf(&in, " %.17g", v)
		}
		fmt.Fprintln(&in)
	}
	cmd := exec.Command(path, "--vanilla", "-e", inR)
	cmd.Stdin = &in
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, complaints.String())
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	for i, c := range cases {
		if !lines.Scan() {
			t.Fatalf("R gave %d lines: %s", i, complaints.String())
		}
		var want [6]float64
		if _, err := fmt.Sscan(lines.Text(), &want[0], &want[1], &want[2], &want[3], &want[4], &want[5]); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		s := NewSample(c.x)
		root := math.Sqrt(float64(s.N))
		q := s.student().Quantile(1-(1-c.level)/2) / root
		hall := [2]float64{s.Mean - s.uncorrected(q)*s.SD, s.Mean - s.uncorrected(-q)*s.SD}
		_, ranks := signedRank(c.x)
		looks := s.Skewed
		s.Skewed = false
		low, high := s.Interval(c.level)
		for k, got := range []float64{low, high, s.TwoSided(0), hall[0], hall[1], ranks} {
			near(t, fmt.Sprintf("figure %d of sample %d (%d values, skewed %v)", k, i, s.N, looks), got, want[k], 1e-7*max(math.Abs(want[k]), s.SD*1e-3, 1e-9))
		}
	}
	if !lines.Scan() {
		t.Fatal("R adjusted nothing")
	}
	if got := strings.Fields(lines.Text()); strings.Join(got, " ") != "0.059999999999999998 0.040000000000000001 0.059999999999999998 0.059999999999999998" {
		t.Errorf("R adjusts to %v; the decisions of TestLevels are of other figures", got)
	}
}
