package metrics

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ratchet/internal/research"
	"ratchet/study"
)

func scoring(use string) *study.Study {
	return &study.Study{Objective: study.Objective{Metric: "score", Goal: study.Maximize, Use: use}}
}

func TestSeries(t *testing.T) {
	long := `{"score": 1, "text": "` + strings.Repeat("x", maxMetricLine) + `"}` + "\n"
	for _, c := range []struct {
		name, use, text string
		want            map[string]float64
		bad             int
		problem         string
	}{
		{"the last value counts", "", "{\"score\": 1}\n{\"score\": 2}\n", map[string]float64{"score": 2}, 0, ""},
		{"the best value counts", "best", "{\"score\": 3}\n{\"score\": 2}\n", map[string]float64{"score": 3}, 0, ""},
		{"the mean counts", "mean", "{\"score\": 1}\n{\"score\": 2}\n", map[string]float64{"score": 1.5}, 0, ""},
		{"a last line without its end is whole", "", `{"score": 4}`, map[string]float64{"score": 4}, 0, ""},
		{"a truncated last line is left out", "", "{\"score\": 1}\n{\"sco", map[string]float64{"score": 1}, 1, ""},
		{"text between is left out", "", "hello\n{\"score\": 1}\n\x00\xff\n", map[string]float64{"score": 1}, 2, ""},
		{"a very long line is left out", "", "{\"score\": 1}\n" + long, map[string]float64{"score": 1}, 1, ""},
		{"a list is no object", "", "[1, 2]\n", map[string]float64{}, 1, ""},
		{"the last of duplicate keys counts", "", `{"score": 1, "score": 2}`, map[string]float64{"score": 2}, 0, ""},
		{"booleans are no numbers", "", `{"score": true}`, map[string]float64{}, 1, "score is true, which is no number"},
		{"nor are numbers in quotes", "", `{"score": "0.99", "loss": 1}`, map[string]float64{"loss": 1}, 0, `score is "0.99", which is no number`},
		{"nor nothing", "", `{"score": null}`, map[string]float64{}, 1, "score is null, which is no number"},
		{"nor lists and objects", "", `{"score": [1]}`, map[string]float64{}, 1, "score is [1], which is no number"},
		{"what stands beside metrics is no complaint", "", `{"step": 1, "loss": 0.5, "phase": "train", "lr": "1e-3", "ok": true, "tags": ["a"], "epoch": 3, "none": null}`, map[string]float64{"loss": 0.5, "epoch": 3}, 0, ""},
		{"nested numbers have dotted names", "", `{"val": {"loss": 0.5, "top": {"1": 0.7}, "name": "x"}, "empty": {}}`, map[string]float64{"val.loss": 0.5, "val.top.1": 0.7}, 0, ""},
		{"a line without a number is left out", "", "{\"phase\": \"train\"}\n{\"step\": 1}\n{}\n", map[string]float64{}, 3, ""},
		{"what is no number does not let an earlier value count", "", "{\"score\": 1}\n{\"score\": false}\n", map[string]float64{}, 1, "score is false, which is no number"},
		{"a later value does", "", "{\"score\": \"warming up\"}\n{\"score\": 1}\n", map[string]float64{"score": 1}, 1, ""},
		{"but not as the best", "best", "{\"score\": true}\n{\"score\": 0.1}\n", map[string]float64{}, 1, "score is true, which is no number"},
		{"beyond 1e300 there is no room to count with", "", `{"score": 1e308, "loss": -1e301}`, map[string]float64{}, 0, "loss is -1e+301, beyond ±1e+300, score is 1e+308, beyond ±1e+300"},
		{"nor in a mean", "mean", "{\"score\": 1e308}\n{\"score\": 1e308}\n", map[string]float64{}, 0, "score is 1e+308, beyond ±1e+300"},
		{"the largest and the smallest", "", `{"score": -1e300, "loss": 5e-324}`, map[string]float64{"score": -1e300, "loss": 5e-324}, 0, ""},
		{"a step is no metric", "", `{"step": 7, "score": 1}`, map[string]float64{"score": 1}, 0, ""},
		{"NaN is a problem, not a value", "", "{\"score\": NaN}\n", map[string]float64{}, 0, "score is NaN"},
		{"NaN as a string too", "", `{"score": "NaN"}`, map[string]float64{}, 0, "score is NaN"},
		{"infinity too", "", `{"score": -Infinity}`, map[string]float64{}, 0, "score is -Inf"},
		{"a number out of range too", "", `{"score": 1e999}`, map[string]float64{}, 0, "score is +Inf"},
		{"NaN is never averaged away", "mean", "{\"score\": 1}\n{\"score\": NaN}\n", map[string]float64{}, 0, "score is NaN"},
		{"nor passed over by the best", "best", "{\"score\": NaN}\n{\"score\": 1}\n", map[string]float64{}, 0, "score is NaN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewSeries()
			for i := range len(c.text) { // however the bytes come
				s.Write([]byte{c.text[i]})
			}
			s.Close()
			values, problems := s.Values(scoring(c.use))
			if diff := cmp.Diff(c.want, values); diff != "" {
				t.Error(diff)
			}
			if bad, why := s.Bad(); bad != c.bad || bad > 0 && why == "" {
				t.Errorf("%d bad lines (%s), want %d", bad, why, c.bad)
			}
			var texts []string
			for _, p := range problems {
				texts = append(texts, p.String())
			}
			if got := strings.Join(texts, ", "); got != c.problem {
				t.Errorf("problems %q, want %q", got, c.problem)
			}
		})
	}
}

func TestSeriesIsBounded(t *testing.T) {
	s := NewSeries()
	for i := range maxPoints + 10 {
		s.Add("score", research.Point{Step: i, Value: float64(i)})
	}
	if n := len(s.Points("score")); n != maxPoints {
		t.Errorf("%d points are kept", n)
	}
	if v, _ := s.Values(scoring("")); v["score"] != maxPoints+9 {
		t.Errorf("the last value is %v", v["score"])
	}
	for i := range maxMetricNames + 10 {
		s.Add(strings.Repeat("n", i+1), research.Point{Step: 0, Value: 1})
	}
	if n := len(s.names); n != maxMetricNames {
		// Names over 128 bytes are refused before the count is full.
		if n != 129 {
			t.Errorf("%d names are kept", n)
		}
	}
}

func TestSeriesSteps(t *testing.T) {
	s := NewSeries()
	s.Write([]byte("{\"step\": 1, \"score\": 0.1}\n{\"step\": 2, \"score\": 0.2}\n{\"step\": 2, \"score\": 0.3}\n{\"step\": 9, \"score\": 0.9}\n{\"score\": 1}\n"))
	if v, ok := s.At("score", 2); !ok || v != 0.3 {
		t.Errorf("at step 2 the score is %v, %v", v, ok)
	}
	if _, ok := s.At("score", 3); ok {
		t.Error("step 3 was never reported")
	}
	s.Through(2)
	if values, _ := s.Values(scoring("")); values["score"] != 0.3 {
		t.Errorf("through step 2 the score is %v", values["score"])
	}
}

// FuzzSeries feeds whatever a program may write: nothing panics, no value that
// is not finite comes through, and how the bytes are cut does not matter.
func FuzzSeries(f *testing.F) {
	for _, s := range []string{"{\"score\": 1}\n", "{\"step\": 1e3, \"a\": NaN}", "\xff\x00{}\n[]\n", `{"a": 1e999}`, `{"step": -1, "b": "Infinity"}`} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		whole, parts := NewSeries(), NewSeries()
		whole.Write(b)
		cut = max(0, min(cut, len(b)))
		parts.Write(b[:cut])
		parts.Write(b[cut:])
		whole.Close()
		parts.Close()
		values, _ := whole.Values(scoring("mean"))
		other, _ := parts.Values(scoring("mean"))
		if !cmp.Equal(values, other) {
			t.Fatalf("cut at %d: %v and %v", cut, values, other)
		}
		for name, v := range values {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				t.Fatalf("%s is %v", name, v)
			}
		}
	})
}
