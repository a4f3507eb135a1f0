package protocol

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"io"
	"regexp"
	"strings"
)

// What a page of a document is at most, in tokens: its text, and its picture.
// Anthropic's page on PDF support gives up to 3,000 and what an image of its size is;
// OpenAI's gives text and picture of each page.
const (
	pageTokens = 4_000
	pageImage  = 12_000
	mostPages  = 100 // that providers take in a request
)

var (
	pageForm   = regexp.MustCompile(`/Type\s*/Page\b`)
	packedForm = regexp.MustCompile(`/Type\s*/ObjStm\b`)
)

// mostUnpacked bounds what is unpacked of a document to count its pages, in bytes.
const mostUnpacked = 64 << 20

// pages is how many pages a PDF has, in base64: those that it describes in the open or
// packed (ISO 32000-1, 7.5.7). If none is found, as in one that is encrypted, as many as
// providers take.
func pages(data string) int64 {
	pdf, err := base64.StdEncoding.DecodeString(data)
	if err != nil || !bytes.Contains(pdf[:min(len(pdf), 1024)], []byte("%PDF-")) || bytes.Contains(pdf, []byte("/Encrypt")) {
		return mostPages
	}
	n := len(pageForm.FindAllIndex(pdf, mostPages))
	left := int64(mostUnpacked)
	for _, at := range packedForm.FindAllIndex(pdf, -1) {
		start := bytes.Index(pdf[at[1]:], []byte("stream"))
		if start < 0 || n >= mostPages || left <= 0 {
			break
		}
		body := bytes.TrimLeft(pdf[at[1]+start+len("stream"):], "\r\n")
		z, err := zlib.NewReader(bytes.NewReader(body))
		if err != nil {
			return mostPages // packed in another way
		}
		text, _ := io.ReadAll(io.LimitReader(z, left)) // what can be read of it counts
		left -= int64(len(text))
		n += len(pageForm.FindAllIndex(text, mostPages))
	}
	if n == 0 || left <= 0 {
		return mostPages
	}
	return int64(min(n, mostPages))
}

// A second of sound is 10 tokens at OpenAI and 32 at Google, and such a token costs up
// to twenty times one of text.
const (
	soundPerSecond = 32 * 20
	leastRate      = 1_000 // bytes a second: the lowest rate of MPEG audio (8 kbit/s)
	leastWave      = 8_000 // of waves without compression: 8 bits at 8 kHz
)

// soundTokens is what a sound is at most, by its length. What a file of waves says of its
// rate counts, within reason.
func soundTokens(kind, data string) int64 {
	rate := int64(leastRate)
	size := int64(base64.StdEncoding.DecodedLen(len(data)))
	if strings.HasSuffix(kind, "wav") || strings.HasSuffix(kind, "wave") {
		rate = leastWave
		head, _ := base64.StdEncoding.DecodeString(data[:min(len(data), 64)/4*4])
		if len(head) >= 36 && string(head[:4]) == "RIFF" && string(head[8:16]) == "WAVEfmt " {
			rate = max(rate, min(int64(binary.LittleEndian.Uint32(head[28:32])), 192_000))
		}
	}
	return (size/rate + 1) * soundPerSecond
}
