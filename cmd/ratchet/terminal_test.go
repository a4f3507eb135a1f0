package main

import (
	"bytes"
	"testing"
)

func TestWhatAPersonReads(t *testing.T) {
	for text, want := range map[string]string{
		"plain\ttext\n":               "plain\ttext\n",
		"\x1b]0;owned\a":              `\u001b]0;owned\u0007`,
		"\x1b[31mred\r\b\x00\u202e\n": `\u001b[31mred\u000d\u0008\u0000\u202e` + "\n",
		"\u009b31m ä €":               `\u009b31m ä €`,
		own("\x1b[K") + "a\x1b[K":     "\x1b[K" + `a\u001b[K`,
		"\xff\xfe":                    "\xff\xfe",
	} {
		for cut := range len(text) + 1 {
			if bytes.Contains([]byte(text), mark) && cut > 0 && cut < len(text) {
				continue // sequences of our own are written at once
			}
			var out bytes.Buffer
			p := &person{w: &out}
			for _, part := range []string{text[:cut], text[cut:]} {
				if n, err := p.Write([]byte(part)); n != len(part) || err != nil {
					t.Fatal(n, err)
				}
			}
			if out.String() != want {
				t.Errorf("%q, cut at %d, becomes %q", text, cut, out.String())
			}
		}
	}
}
