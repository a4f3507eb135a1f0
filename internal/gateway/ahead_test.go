package gateway

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"ratchet/internal/objects"
)

// What a client gets again is what the record says, whatever is in it.
func TestDeliverable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Answered{Call: "c000001", Status: rapid.IntRange(200, 499).Draw(t, "status")}
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			if want.Header == nil {
				want.Header = map[string]string{}
			}
			want.Header[rapid.String().Draw(t, "name")] = rapid.String().Draw(t, "value")
		}
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			want.Answer.Text = rapid.String().Draw(t, "text")
		case 1:
			want.Answer.Bytes = rapid.SliceOfN(rapid.Byte(), 1, -1).Draw(t, "bytes")
		case 2:
			want.Answer.Object = objects.Digest(rapid.StringMatching("sha256:[0-9a-f]{64}").Draw(t, "object"))
		}
		payload, err := encodeRecord(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := deliverable(payload)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// What is folded is the record, but for its body.
func TestCutBody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		content := Content{Size: 1}
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			content.Text = rapid.String().Draw(t, "text")
		case 1:
			content.Bytes = rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		case 2:
			content.Object = "d"
		}
		name := rapid.String().Draw(t, "name")
		for _, r := range []record{
			Sent{Call: "c1", Scope: name, Headers: []string{name}, Request: content, Model: name},
			Answered{Call: "c1", Provider: name, Header: map[string]string{"request.text": name}, Answer: content, Prices: name},
			Failed{Call: "c1", Why: name},
		} {
			payload, err := encodeRecord(r)
			if err != nil {
				t.Fatal(err)
			}
			rest, _ := cutBody(payload)
			got, err := decodeRecord(r.kind(), recordVersion, rest)
			if err != nil {
				t.Fatalf("%s: %v", payload, err)
			}
			want := r
			switch r := r.(type) {
			case Sent:
				r.Request.Text, r.Request.Bytes = "", nil
				want = r
			case Answered:
				r.Answer.Text, r.Answer.Bytes = "", nil
				want = r
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		}
	})
}
