package sqlite_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ratchet/internal/journal"
	"ratchet/internal/journal/journaltest"
)

// BenchmarkAppend appends one record a commit, of the size of an event and of
// model answers, without waiting for a disk (in /dev/shm where there is one).
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{200, 1_000, 2_000, 4_000, 16_000} {
		b.Run(fmt.Sprint(size, " bytes"), func(b *testing.B) {
			dir, err := os.MkdirTemp("/dev/shm", "ratchet-bench-")
			if err != nil {
				dir = b.TempDir()
			}
			defer os.RemoveAll(dir)
			j := open(b, filepath.Join(dir, "journal.db"))
			entry := journaltest.Entries(1)[0]
			entry.Payload = json.RawMessage(`"` + strings.Repeat("word ", size/5) + `"`)
			var head journal.Head
			for b.Loop() {
				if head, err = j.Append(context.Background(), journal.CallsOf("a"), head, entry); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
