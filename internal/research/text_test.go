package research

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                   "plain",
		"tab\there":               "tab here",
		"\x1b]0;title\x07":        `\x1b]0;title\x07`,
		"bad \xff byte":           "bad \uFFFD byte",
		"\u202Eright to left":     `\u202eright to left`,
		"c1 \u009b31m":            `c1 \x9b31m`,
		strings.Repeat("ü", 1000): strings.Repeat("ü", 48) + "…",
	} {
		got := Printable(in, 100)
		if got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
		if len(got) > 100 || !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) {
			t.Errorf("%q is not fit to print", got)
		}
	}
}
