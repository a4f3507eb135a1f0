package research

// Judgment is what the statistics conclude of a hypothesis. How it comes about
// is in docs/statistics.md.
type Judgment struct {
	Hypothesis string      `json:"hypothesis"`
	Verdict    string      `json:"verdict"`
	Why        string      `json:"why"`
	N          int         `json:"n"`        // pairs
	Effect     *float64    `json:"effect"`   // mean of a − b
	Interval   *[2]float64 `json:"interval"` // of it, at the level 1 − alpha
	P          *float64    `json:"p"`        // two-sided
	// PAdjusted is P times alpha over Level.
	PAdjusted *float64 `json:"p_adjusted"`
	Test      string   `json:"test"`
	Pairs     []Pair   `json:"pairs"`
	Grounds
}

// Grounds are what a verdict rests on beside its figures. Verdicts of release 0.2
// and before have none.
type Grounds struct {
	Planned   int      `json:"planned,omitempty"` // pairs
	LostA     int      `json:"lost_a,omitempty"`  // seeds for which a has no value
	LostB     int      `json:"lost_b,omitempty"`
	Statistic *float64 `json:"statistic,omitempty"` // Student's t
	DF        int      `json:"df,omitempty"`
	Skewness  *float64 `json:"skewness,omitempty"`
	Zeros     int      `json:"zeros,omitempty"` // differences that are zero
	Ties      int      `json:"ties,omitempty"`  // others that are as large as another
	// Level is the share of alpha that the decision was made at; Adjusted is the
	// interval at 1 − Level, which the verdict is read off.
	Level    float64     `json:"level,omitempty"`
	Adjusted *[2]float64 `json:"adjusted_interval,omitempty"`
	Second   *Opinion    `json:"second,omitempty"`
	// Earlier are the looks at the claims before this one, in the run itself and
	// in those it shares a past with.
	Earlier []Look `json:"earlier,omitempty"`
	// Replications are verdicts on the same claim in other runs of the home, with
	// other seeds.
	Replications []Look `json:"replications,omitempty"`
}

// Opinion is a second test, which is shown beside the one that decides.
type Opinion struct {
	Test      string  `json:"test"`
	Statistic float64 `json:"statistic"`
	P         float64 `json:"p"`     // two-sided
	Above     int     `json:"above"` // seeds at which a is above b
	Below     int     `json:"below"`
}

// Look is a verdict that was given before.
type Look struct {
	Run      string      `json:"run"`
	Seq      int64       `json:"seq"` // of the record with the verdict
	Verdict  string      `json:"verdict"`
	N        int         `json:"n"`
	Effect   *float64    `json:"effect"`
	P        *float64    `json:"p"`
	Adjusted *[2]float64 `json:"adjusted_interval,omitempty"`
}

// The verdicts.
const (
	Supported = "supported"
	Refuted   = "refuted"
	Undecided = "undecided"
)

// Pair are the two sides' values for one seed.
type Pair struct {
	Seed int64   `json:"seed"`
	A    float64 `json:"a"`
	B    float64 `json:"b"`
}

// Reproduction compares a trial with its repetition from the record alone.
type Reproduction struct {
	Trial      string             `json:"trial"`
	Repetition string             `json:"repetition"`
	Reproduces bool               `json:"reproduces"`
	Why        string             `json:"why"`
	First      map[string]float64 `json:"first,omitempty"`
	Second     map[string]float64 `json:"second,omitempty"`
}
