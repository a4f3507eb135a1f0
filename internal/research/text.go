package research

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

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
		case r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0:
			fmt.Fprintf(&out, `\x%02x`, r)
		case r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069:
			// Characters that turn the direction of what follows.
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}
