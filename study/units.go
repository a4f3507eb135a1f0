package study

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Duration is a wall-clock time span, written "90s", "1h30m" or "2d".
type Duration time.Duration

var days = regexp.MustCompile(`^(\d+(?:\.\d+)?)d(.*)$`)

// ParseDuration reads Go's notation with d for days of 24 hours added.
func ParseDuration(s string) (Duration, error) {
	rest, total := s, time.Duration(0)
	if m := days.FindStringSubmatch(s); m != nil {
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil || n > 36500 {
			return 0, fmt.Errorf("%q is too long", s)
		}
		total, rest = time.Duration(n*24*float64(time.Hour)), m[2]
	}
	if rest != "" || s == "" {
		d, err := time.ParseDuration(rest)
		if err != nil {
			return 0, fmt.Errorf("%q is not a time span; write one with its unit, like 60s, 10m, 48h or 2d", s)
		}
		total += d
	}
	if total < 0 {
		return 0, fmt.Errorf("%q is negative; write a time span of zero or more", s)
	}
	return Duration(total), nil
}

func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalJSON writes the span in the notation that ParseDuration reads.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (d *Duration) UnmarshalJSON(b []byte) error { return unmarshalUnit(b, d, ParseDuration) }

// Bytes is an amount of memory or storage, written "512MiB" or "2GB".
type Bytes int64

var (
	bytesForm = regexp.MustCompile(`^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$`)
	byteUnits = map[string]float64{
		"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
		"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40,
	}
)

// ParseBytes reads an amount with its unit: B, kB, MB, GB, TB or KiB, MiB,
// GiB, TiB.
func ParseBytes(s string) (Bytes, error) {
	if m := bytesForm.FindStringSubmatch(s); m != nil {
		if unit, ok := byteUnits[strings.ToUpper(m[2])]; ok {
			if n, err := strconv.ParseFloat(m[1], 64); err == nil && n*unit < math.MaxInt64/2 {
				return Bytes(n * unit), nil
			}
		}
	}
	return 0, fmt.Errorf("%q is not an amount of bytes; write one with its unit, like 500MiB, 1GiB or 2GB", s)
}

func (b Bytes) String() string {
	n := float64(b)
	for _, u := range []struct {
		name string
		size float64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.size {
			return strconv.FormatFloat(math.Round(n/u.size*100)/100, 'f', -1, 64) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// MarshalJSON writes the exact number of bytes, with the unit B.
func (b Bytes) MarshalJSON() ([]byte, error) {
	return json.Marshal(strconv.FormatInt(int64(b), 10) + "B")
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (b *Bytes) UnmarshalJSON(in []byte) error { return unmarshalUnit(in, b, ParseBytes) }

// Money is an amount in US dollars, in millionths of one, written "5 USD".
type Money int64

var moneyForm = regexp.MustCompile(`^(\d+(?:\.\d{1,6})?)\s*([A-Z]{3})$`)

// ParseMoney reads an amount with its currency, which must be USD.
func ParseMoney(s string) (Money, error) {
	if m := moneyForm.FindStringSubmatch(s); m != nil {
		if m[2] != "USD" {
			return 0, fmt.Errorf("%q is in %s; prices are known in US dollars only, write it like 5 USD", s, m[2])
		}
		if n, err := strconv.ParseFloat(m[1], 64); err == nil && n < 1e12 {
			return Money(math.Round(n * 1e6)), nil
		}
	}
	return 0, fmt.Errorf("%q is not an amount of money; write one with its currency, like 5 USD or 0.50 USD", s)
}

func (m Money) String() string {
	return strconv.FormatFloat(float64(m)/1e6, 'f', -1, 64) + " USD"
}

// Dollars writes an amount in US dollars for a person: to the cent from about one
// dollar on, below with three digits that count.
func Dollars(usd float64) string {
	switch {
	case usd <= 0:
		return "0 USD"
	case usd >= 0.995:
		return fmt.Sprintf("%.2f USD", usd)
	}
	return strings.TrimRight(strconv.FormatFloat(usd, 'f', 2-int(math.Floor(math.Log10(usd))), 64), "0") + " USD"
}

// MarshalJSON writes the amount in the notation that ParseMoney reads.
func (m Money) MarshalJSON() ([]byte, error) { return json.Marshal(m.String()) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (m *Money) UnmarshalJSON(b []byte) error { return unmarshalUnit(b, m, ParseMoney) }

func unmarshalUnit[T any](b []byte, to *T, parse func(string) (T, error)) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	v, err := parse(s)
	if err != nil {
		return err
	}
	*to = v
	return nil
}

// ModelPrice is what a language model's tokens cost, in US dollars for a million.
type ModelPrice struct {
	In  float64 `json:"in"`
	Out float64 `json:"out"`
}

// ParseModelPrice reads provider/model=IN,OUT.
func ParseModelPrice(s string) (model string, p ModelPrice, err error) {
	model, figures, ok := cutLast(s, "=")
	in, out, two := strings.Cut(figures, ",")
	if ok && two && strings.Contains(model, "/") {
		var errIn, errOut error
		p.In, errIn = strconv.ParseFloat(strings.TrimSpace(in), 64)
		p.Out, errOut = strconv.ParseFloat(strings.TrimSpace(out), 64)
		if errIn == nil && errOut == nil && p.In >= 0 && p.Out >= 0 && p.In < 1e6 && p.Out < 1e6 {
			return model, p, nil
		}
	}
	return "", ModelPrice{}, fmt.Errorf("%q is no price; write provider/model=IN,OUT, in US dollars for a million tokens, like openrouter/vendor/model=0.5,1.5", s)
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
