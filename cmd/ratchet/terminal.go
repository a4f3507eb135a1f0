package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"slices"
	"unicode/utf8"

	"golang.org/x/term"

	"ratchet/internal/research"
)

// person is where all goes that a person reads. What is printed may come from a
// study, a program or a backup, and a terminal obeys what some characters say:
// such are written as \uXXXX, which is also how JSON has them. Sequences of our
// own go through own.
type person struct {
	w    io.Writer
	held []byte // the beginning of a character
}

// mark begins and ends a sequence of our own. It cannot be guessed.
var mark = []byte("\x00" + rand.Text())

// own is a sequence for the terminal, like "\x1b[K".
func own(sequence string) string { return string(mark) + sequence + string(mark) }

// terminal gives the terminal that w is, or is written to; nil: it is none.
func terminal(w io.Writer) *os.File {
	if p, ok := w.(*person); ok {
		w = p.w
	}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// Write implements io.Writer.
func (p *person) Write(b []byte) (int, error) {
	out := make([]byte, 0, len(b)+16)
	text := slices.Concat(p.held, b)
	p.held = nil
	for ours := false; len(text) > 0; {
		if bytes.HasPrefix(text, mark) {
			text, ours = text[len(mark):], !ours
			continue
		}
		if ours {
			out, text = append(out, text[0]), text[1:]
			continue
		}
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n == 1 && !utf8.FullRune(text) {
			p.held = bytes.Clone(text)
			break
		}
		if research.Obeyed(r) && r != '\n' && r != '\t' {
			out = fmt.Appendf(out, `\u%04x`, r)
		} else {
			out = append(out, text[:n]...)
		}
		text = text[n:]
	}
	if _, err := p.w.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}
