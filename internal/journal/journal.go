// Package journal is the append-only, hash-chained log that a run is.
//
// A run has several chains of records, each of a kind: what happened in it, its
// model calls. The format of a record and the bytes that its hash covers are in
// docs/journal.md. Memory keeps a journal in memory; package sqlite keeps it
// on disk. Both pass the same contract tests, in package journaltest.
package journal

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/tidwall/gjson"
)

// MaxPayload is the largest payload of a record, in bytes. Anything bigger is
// an object, and the payload has its digest.
const MaxPayload = 64 << 10

// Hash is a SHA-256.
type Hash [sha256.Size]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText writes the hash in hexadecimal.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(h)) {
		return fmt.Errorf("%q is not a hash", text)
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// Entry is what a writer gives.
type Entry struct {
	Time    time.Time       `json:"time"` // kept to the microsecond, in UTC
	Type    string          `json:"type"`
	Version int             `json:"version"` // of the payload's form
	Payload json.RawMessage `json:"payload"` // JSON, kept byte for byte
}

// Record is an entry in its place.
type Record struct {
	Seq int64 `json:"seq"` // from 1, without gaps
	Entry
	Prev Hash `json:"prev"` // hash of the record before; zero in the first
	Hash Hash `json:"hash"`
}

// Head names the last record of a chain; the zero Head is that of a chain
// without records.
type Head struct {
	Seq  int64 `json:"seq"`
	Hash Hash  `json:"hash"`
}

// At is the head that a record is.
func (r Record) At() Head { return Head{r.Seq, r.Hash} }

// Info is what a journal lists of a chain.
type Info struct {
	Chain
	Head
	First, Last time.Time // of these records
}

// Journal holds chains of records. It is safe for concurrent use, by several
// processes where the implementation is on disk.
type Journal interface {
	// Append adds entries behind the head that the writer expects and returns
	// the new head when they are durable. If the chain's head is another, the
	// error is a ConflictError and nothing is appended. After any other error
	// the writer must not assume that the entries are absent before it has
	// read the journal again; they were never acknowledged.
	Append(ctx context.Context, c Chain, expected Head, entries ...Entry) (Head, error)
	// Read yields the records of a chain from a sequence number on, in order,
	// each checked against the chain. It ends at the first error, which is a
	// DamageError where the records are not what was written.
	Read(ctx context.Context, c Chain, from int64) iter.Seq2[Record, error]
	// Subscribe is Read, and then yields the records that are appended, by this
	// process or another: each once, in order, within 50 ms on an idle machine.
	// It ends with an error: that of ctx; a ConflictError where Replace has
	// taken away a record that was yielded; or one of Read.
	Subscribe(ctx context.Context, c Chain, from int64) iter.Seq2[Record, error]
	// Replace puts records in the place of all that a chain has, durably and at
	// once: all of them are there on return, or what was before, as after an
	// error among the records. They are a chain from the first record on. It is
	// for restoring and repairing a run that no process drives; the process that drives it is
	// fenced by the new head.
	Replace(ctx context.Context, c Chain, records iter.Seq2[Record, error]) error
	// Head is the chain's head as of now.
	Head(ctx context.Context, c Chain) (Head, error)
	// Chains yields the chains of a kind that have records, sorted by run.
	Chains(ctx context.Context, k Kind) iter.Seq2[Info, error]
	// Latest is the chain of a kind whose last record is the latest; the zero
	// Info if there is none.
	Latest(ctx context.Context, k Kind) (Info, error)
	// Close waits for appends in flight, and ends subscriptions with ErrClosed.
	Close() error
}

// ConflictError says that another writer was there first.
type ConflictError struct {
	Chain            Chain
	Expected, Actual Head
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("run %s: expected to append behind record %d, but its last record is %d", e.Chain, e.Expected.Seq, e.Actual.Seq)
}

// RecordDamageError says that a record is not what was written; without a chain, that
// the whole journal is not.
type RecordDamageError struct {
	Chain Chain
	Seq   int64
	Why   string
}

func (e *RecordDamageError) Error() string {
	if e.Chain == (Chain{}) {
		return e.Why
	}
	return fmt.Sprintf("run %s, record %d is damaged: %s", e.Chain, e.Seq, e.Why)
}

// ErrClosed is the error of a journal that was closed.
var ErrClosed = errors.New("the journal is closed")

// hashDomain separates these hashes from any other use of SHA-256.
const hashDomain = "ratchet journal record v1\n"

// Sum is the hash of a record, over all of it but the hash itself. The
// encoding is given byte by byte in docs/journal.md.
func Sum(c Chain, r Record) Hash {
	name := c.Name()
	var room [512]byte // all but the payload fits, as a rule
	b := room[:0]
	b = append(b, hashDomain...)
	b = append(b, r.Prev[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(name)))
	b = append(b, name...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Seq))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Time.UnixMicro()))
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Type)))
	b = append(b, r.Type...)
	b = binary.BigEndian.AppendUint32(b, uint32(r.Version))
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Payload)))
	h := sha256.New()
	h.Write(b)
	h.Write(r.Payload)
	return Hash(h.Sum(b[:0]))
}

// Link makes the records that entries become behind a head. It refuses what a
// journal cannot hold.
func Link(c Chain, head Head, entries []Entry) ([]Record, error) {
	if Named(c.Name()) != c {
		return nil, fmt.Errorf("a run cannot be named %q", c.Run)
	}
	records := make([]Record, 0, len(entries))
	for _, e := range entries {
		if len(e.Payload) > MaxPayload {
			return nil, fmt.Errorf("run %s: the payload of a %s record has %d bytes; at most %d fit", c, e.Type, len(e.Payload), MaxPayload)
		}
		if !gjson.ValidBytes(e.Payload) {
			return nil, fmt.Errorf("run %s: the payload of a %s record is not JSON", c, e.Type)
		}
		e.Time = e.Time.UTC().Truncate(time.Microsecond)
		r := Record{Seq: head.Seq + 1, Entry: e, Prev: head.Hash}
		r.Hash = Sum(c, r)
		head = r.At()
		records = append(records, r)
	}
	return records, nil
}

// Verify checks a record that was read against its place in the chain.
func Verify(c Chain, before Head, r Record) error {
	switch {
	case r.Seq != before.Seq+1:
		return &RecordDamageError{c, before.Seq + 1, fmt.Sprintf("it is missing; the next one there is %d", r.Seq)}
	case r.Prev != before.Hash:
		return &RecordDamageError{c, r.Seq, "it does not follow the record before it"}
	case Sum(c, r) != r.Hash:
		return &RecordDamageError{c, r.Seq, "its content does not match its hash"}
	}
	return nil
}

// Verified yields records as long as they are a chain from the first on, and
// then the error.
func Verified(c Chain, records iter.Seq2[Record, error]) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var before Head
		for r, err := range records {
			if err == nil {
				err = Verify(c, before, r)
			}
			if err != nil {
				yield(Record{}, err)
				return
			}
			if before = r.At(); !yield(r, nil) {
				return
			}
		}
	}
}

// AllChains are the chains of every kind that have records, by kind and sorted by run.
func AllChains(ctx context.Context, j Journal) ([]Chain, error) {
	var out []Chain
	for _, k := range Kinds {
		for i, err := range j.Chains(ctx, k) {
			if err != nil {
				return nil, err
			}
			out = append(out, i.Chain)
		}
	}
	return out, nil
}

// All yields records, for Replace.
func All(records []Record) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
}
