package report

import (
	"fmt"
	"math"
	"strings"

	"ratchet/internal/research"
	"ratchet/internal/stats"
)

// Basis is what a verdict rests on, a sentence for each part.
func (h Hypothesis) Basis() []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if h.Planned > 0 {
		say("%d of %d planned pairs count%s.", h.N, h.Planned, h.lost())
	}
	if h.Adjusted != nil {
		adjusted := fmt.Sprintf("The %s interval, [%s, %s], decides", percent(1-h.Level), signed(h.Adjusted[0]), signed(h.Adjusted[1]))
		if h.Interval != nil && *h.Interval != *h.Adjusted {
			say("%s: the level is adjusted for the number of hypotheses and of looks. Without that it is [%s, %s].", adjusted, signed(h.Interval[0]), signed(h.Interval[1]))
		} else {
			say("%s.", adjusted)
		}
	}
	if h.Statistic != nil {
		text := fmt.Sprintf("%s: t = %.3g with %d degrees of freedom, p %s", h.Test, *h.Statistic, h.DF, Probability(h.P))
		switch {
		case h.Test == stats.PairedTSkewed:
			text += fmt.Sprintf("; the differences look skewed (skewness %.2g), so each end of the interval is the farther one of Student's and of Hall's", *h.Skewness)
		case h.N < 6:
			text += "; with fewer than six differences, skewness cannot be judged"
		default:
			text += "; the differences do not look skewed"
		}
		if h.Zeros > 0 || h.Ties > 0 {
			text += fmt.Sprintf("; %d of them are zero, %d as large as another", h.Zeros, h.Ties)
		}
		say("%s.", text)
	}
	if o := h.Second; o != nil {
		say("Second opinion, which decides nothing unless it contradicts: %s, V = %g, p %s; a is above b at %d seeds, below at %d.", o.Test, o.Statistic, Probability(&o.P), o.Above, o.Below)
	}
	if h.TunedOver > 0 {
		say("Each side was tuned over at most %s.", research.Counted(h.TunedOver, "configuration"))
	}
	for _, l := range h.Earlier {
		say("Looked at before, in run %s at record %d: %s. Each look after the first has half the level of the one before.", l.Run, l.Seq, lookText(l))
	}
	for _, l := range h.Replications {
		say("The same claim in run %s, with other seeds: %s.", l.Run, lookText(l))
	}
	return out
}

func (h Hypothesis) lost() string {
	switch {
	case h.LostA > 0 && h.LostB > 0:
		return fmt.Sprintf("; a has no value for %d seeds, b for %d", h.LostA, h.LostB)
	case h.LostA > 0:
		return fmt.Sprintf("; a has no value for %s", research.Counted(h.LostA, "seed"))
	case h.LostB > 0:
		return fmt.Sprintf("; b has no value for %s", research.Counted(h.LostB, "seed"))
	}
	return ""
}

func lookText(l research.Look) string {
	text := l.Verdict + " on " + research.Counted(l.N, "pair")
	if l.Effect != nil {
		text += ", a − b " + signed(*l.Effect)
	}
	if l.P != nil {
		text += ", p " + Probability(l.P)
	}
	return text
}

// percent writes a level with two digits of what it leaves.
func percent(level float64) string {
	digits := max(0, 1-int(math.Floor(math.Log10(100*(1-level)))))
	return strings.TrimSuffix(fmt.Sprintf("%.*f", digits, 100*level), ".0") + " %"
}
