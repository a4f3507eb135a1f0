package research

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Harmless is a text of any length without what terminals obey. Its lines stay.
func Harmless(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = Printable(l, 8*len(l)+2*utf8.UTFMax)
	}
	return strings.Join(lines, "\n")
}

// Counted is a number of things, in words: 1 pair, 2 pairs.
func Counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Obeyed reports whether a terminal does something at a character besides showing
// it: control characters, the end of a line and a tab among them, and those that
// turn the direction of what follows.
func Obeyed(r rune) bool {
	return r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// Printable makes text of a program harmless to show: valid UTF-8, control
// characters and terminal escapes as spaces or \x.., at most so many bytes.
func Printable(s string, most int) string {
	var out strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		if out.Len() >= most-utf8.UTFMax {
			out.WriteString("…")
			break
		}
		switch {
		case r == '\t':
			out.WriteByte(' ')
		case Obeyed(r) && r < 0x100:
			fmt.Fprintf(&out, `\x%02x`, r)
		case Obeyed(r):
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}
