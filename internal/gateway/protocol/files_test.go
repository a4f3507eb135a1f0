package protocol

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// pdf is a document with pages in the open, and more that are packed.
func pdf(open, packed int) string {
	var b bytes.Buffer
	b.WriteString("%PDF-1.7\n1 0 obj <</Type /Catalog /Pages 2 0 R>> endobj\n2 0 obj <</Type /Pages /Count 9>> endobj\n")
	for range open {
		b.WriteString("3 0 obj <</Type/Page /Parent 2 0 R>> endobj\n")
	}
	if packed > 0 {
		var z bytes.Buffer
		w := zlib.NewWriter(&z)
		_, _ = w.Write([]byte(strings.Repeat("<</Type /Page /Parent 2 0 R>> ", packed)))
		_ = w.Close()
		fmt.Fprintf(&b, "4 0 obj <</Type /ObjStm /N %d /Filter /FlateDecode /Length %d>> stream\r\n%s\r\nendstream endobj\n", packed, z.Len(), z.Bytes())
	}
	b.Write(make([]byte, 300_000)) // what is drawn
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

func wave(rate uint32, size int) string {
	b := append([]byte("RIFF....WAVEfmt "), make([]byte, 28+size)...)
	binary.LittleEndian.PutUint32(b[28:], rate)
	return base64.StdEncoding.EncodeToString(b)
}

// TestFilesInRequests: documents count by pages and sounds by seconds, not by bytes, and
// what only says that it is one counts as text.
func TestFilesInRequests(t *testing.T) {
	junk := base64.StdEncoding.EncodeToString(make([]byte, 300_000))
	document := func(data string) string {
		return `{"messages":[{"role":"user","content":[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"` + data + `"}}]}]}`
	}
	file := func(data string) string {
		return `{"messages":[{"role":"user","content":[{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,` + data + `"}}]}]}`
	}
	sound := func(format, data string) string {
		return `{"messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"format":"` + format + `","data":"` + data + `"}}]}]}`
	}
	for _, c := range []struct {
		what, body  string
		e           Endpoint
		least, most int64
	}{
		{"three pages", document(pdf(3, 0)), Messages, 3 * 9_000, 3*9_000 + 3_000},
		{"packed pages", document(pdf(1, 4)), Messages, 5 * 9_000, 5*9_000 + 3_000},
		{"three pages at OpenAI", file(pdf(3, 0)), Chat, 3 * 16_000, 3*16_000 + 3_000},
		{"what is no PDF", document(junk), Messages, 100 * 9_000, 100*9_000 + 3_000},
		{"a document elsewhere", `{"messages":[{"role":"user","content":[{"type":"document","source":{"type":"url","url":"https://a.example/b.pdf"}}]}]}`, Messages, 100 * 9_000, 100*9_000 + 3_000},
		{"a file by its id", `{"input":[{"role":"user","content":[{"type":"input_file","file_id":"file-1"}]}]}`, Responses, 100 * 16_000, 100*16_000 + 3_000},
		{"ten seconds of waves", sound("wav", wave(32_000, 320_000)), Chat, 10 * 640, 12*640 + 3_000},
		{"waves that play slower than any do", sound("wav", wave(1, 80_000)), Chat, 10 * 640, 12*640 + 3_000},
		{"MPEG audio", sound("mp3", junk), Chat, 300 * 640, 302*640 + 3_000},
		{"what a tool's schema has", `{"tools":[{"type":"function","function":{"parameters":{"media_type":"application/pdf","data":"` + junk + `"}}}]}`, Chat, 400_000, 403_000},
		{"what a tool was given", `{"messages":[{"role":"assistant","content":[{"type":"tool_use","input":{"media_type":"image/png","data":"` + junk + `"}}]}]}`, Messages, 400_000, 403_000},
	} {
		var v map[string]any
		if err := json.Unmarshal([]byte(c.body), &v); err != nil {
			t.Fatal(err)
		}
		if got := ReadRequest(c.e, v, len(c.body)).In; got < c.least || got > c.most {
			t.Errorf("%s: %d tokens at most, want %d to %d", c.what, got, c.least, c.most)
		}
	}
}

func TestModelsInPaths(t *testing.T) {
	for path, want := range map[string]string{
		"openai/deployments/my-gpt/chat/completions": "my-gpt", "chat/completions": "", "openai/v1/chat/completions": "",
	} {
		if got := ModelIn(path); got != want {
			t.Errorf("%s names %q", path, got)
		}
	}
}
