package metrics

import (
	"encoding/json"
	"math"
	"strconv"

	"ratchet/internal/research"
)

// kept is a series in JSON. Values are texts: JSON has no NaN.
type kept struct {
	Names  []string            `json:"names"`
	Steps  map[string][]int    `json:"steps"`
	Values map[string][]string `json:"values"`
	Odd    map[string]keptOdd  `json:"odd,omitempty"`
	Bad    int                 `json:"bad,omitempty"`
	Why    string              `json:"why,omitempty"`
}

type keptOdd struct {
	Text  string `json:"text"`
	After int    `json:"after"`
}

// MarshalJSON writes a series whose lines have all ended.
func (s *Series) MarshalJSON() ([]byte, error) {
	k := kept{Names: s.names, Steps: map[string][]int{}, Values: map[string][]string{}, Odd: map[string]keptOdd{}, Bad: s.bad, Why: s.why}
	for name, points := range s.values {
		for _, p := range points {
			k.Steps[name] = append(k.Steps[name], p.Step)
			k.Values[name] = append(k.Values[name], strconv.FormatFloat(p.Value, 'g', -1, 64))
		}
	}
	for name, o := range s.odd {
		k.Odd[name] = keptOdd{o.text, o.after}
	}
	return json.Marshal(k)
}

// UnmarshalJSON reads what MarshalJSON wrote. What goes beyond the bounds of a
// series is left out.
func (s *Series) UnmarshalJSON(b []byte) error {
	var k kept
	if err := json.Unmarshal(b, &k); err != nil {
		return err
	}
	*s = *NewSeries()
	for _, name := range k.Names {
		for i, text := range k.Values[name] {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil && !math.IsInf(v, 0) || i >= len(k.Steps[name]) {
				continue
			}
			s.Add(name, research.Point{Step: k.Steps[name][i], Value: v})
		}
	}
	for name, o := range k.Odd {
		if len(name) <= mostName && len(s.odd) < maxMetricNames {
			s.odd[name] = odd{research.Printable(o.Text, 100), o.After}
		}
	}
	s.bad, s.why = k.Bad, research.Printable(k.Why, 200)
	return nil
}
