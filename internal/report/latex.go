package report

import (
	"strconv"
	"strings"

	"ratchet/internal/research"
)

// latexed escapes what LaTeX reads otherwise.
var latexed = strings.NewReplacer(
	`\`, `\textbackslash{}`, `&`, `\&`, `%`, `\%`, `$`, `\$`, `#`, `\#`, `_`, `\_`, `{`, `\{`, `}`, `\}`, `~`, `\textasciitilde{}`, `^`, `\textasciicircum{}`,
	"<", `\textless{}`, ">", `\textgreater{}`, "|", `\textbar{}`, "−", `$-$`, "±", `$\pm$`, "…", `\dots{}`, "–", "--", "\n", " ", "\r", " ",
)

// latex writes a table, its first row as the head, with nothing but LaTeX's own
// commands. Columns of numbers alone are set flush right.
func (w *writer) latex(name string, rows [][]string) {
	var b strings.Builder
	b.WriteString("% \\input this; the values are those of the table of the same name in CSV.\n\\begin{tabular}{")
	for i := range rows[0] {
		b.WriteByte(map[bool]byte{true: 'r', false: 'l'}[numbersIn(rows[1:], i)])
	}
	b.WriteString("}\n\\hline\n")
	for i, row := range rows {
		for j, cell := range row {
			if j > 0 {
				b.WriteString(" & ")
			}
			if v, err := strconv.ParseFloat(cell, 64); err == nil && i > 0 && strings.ContainsAny(cell, ".e") {
				cell = Number(v)
			}
			b.WriteString(latexed.Replace(research.Harmless(cell)))
		}
		b.WriteString(" \\\\\n")
		if i == 0 {
			b.WriteString("\\hline\n")
		}
	}
	b.WriteString("\\hline\n\\end{tabular}\n")
	w.bytes(name, []byte(b.String()))
}

func numbersIn(rows [][]string, column int) bool {
	found := false
	for _, row := range rows {
		if cell := row[column]; cell != "" {
			if !strings.ContainsAny(cell[:1], "+-.0123456789") || strings.ContainsAny(cell, " /") || strings.Trim(cell, "+-.0123456789eE") != "" {
				return false
			}
			found = true
		}
	}
	return found
}
