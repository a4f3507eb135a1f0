package report

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"ratchet/internal/research"
	"ratchet/study"
)

// Number writes a value with digits for a person: four significant ones.
func Number(v float64) string {
	switch a := math.Abs(v); {
	case v == math.Trunc(v) && a < 1e6:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case a >= 1e5 || a < 1e-4:
		return strconv.FormatFloat(v, 'e', 3, 64)
	default:
		digits := 3 - int(math.Floor(math.Log10(a)))
		return strconv.FormatFloat(v, 'f', max(digits, 0), 64)
	}
}

// Probability writes a p value.
func Probability(p *float64) string {
	switch {
	case p == nil:
		return "–"
	case *p < 0.001:
		return "< 0.001"
	}
	return strconv.FormatFloat(*p, 'f', 3, 64)
}

// Parameters writes a configuration on one line.
func Parameters(p study.Params) string {
	if len(p) == 0 {
		return "no parameters"
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(p)) {
		v := study.FormatValue(p[name])
		if f, ok := p[name].(float64); ok && f != math.Trunc(f) && len(v) > 9 {
			v = Number(f) // one that the search has drawn
		}
		parts = append(parts, name+" "+v)
	}
	return strings.Join(parts, ", ")
}

// Span writes a time span in seconds for a person.
func Span(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case seconds < 1:
		return fmt.Sprintf("%.0f ms", seconds*1000)
	case seconds < 60:
		return fmt.Sprintf("%.1f s", seconds)
	case seconds < 3600:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	case seconds < 48*3600:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d d %d h", int(d.Hours())/24, int(d.Hours())%24)
}

// EffectText writes a difference with its interval.
func (h Hypothesis) EffectText() string {
	if h.Effect == nil {
		return "–"
	}
	interval := h.Interval
	if h.Adjusted != nil {
		interval = h.Adjusted // the one that decides
	}
	if interval == nil {
		return signed(*h.Effect)
	}
	return fmt.Sprintf("%s [%s, %s]", signed(*h.Effect), signed(interval[0]), signed(interval[1]))
}

// Text writes a side's mean with its interval.
func (s Side) Text() string {
	if s.Interval == nil {
		return Number(*s.Mean)
	}
	return fmt.Sprintf("%s [%s, %s]", Number(*s.Mean), Number(s.Interval[0]), Number(s.Interval[1]))
}

func signed(v float64) string {
	if v > 0 {
		return "+" + Number(v)
	}
	return strings.Replace(Number(v), "-", "−", 1)
}

// Metrics writes a trial's metrics on one line.
func Metrics(m map[string]float64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, research.Printable(name, 100)+" "+Number(m[name]))
	}
	if len(parts) == 0 {
		return "–"
	}
	return strings.Join(parts, ", ")
}
