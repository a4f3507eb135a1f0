package history

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"ratchet/internal/home"
	"ratchet/internal/journal"
)

// What was folded can be kept in a file beside the journal. Such a file is a copy
// of what the journal says, no more: one that is damaged, of another release, or
// of records that the journal does not have, is passed over.
//
// It has a line of JSON (keptHeader), a body, and the SHA-256 of both.

type keptHeader struct {
	Form    int          `json:"form"` // of the body
	Release string       `json:"release"`
	Run     string       `json:"run"` // the chain's name
	Seq     int64        `json:"seq"` // of the last record that is folded
	Hash    journal.Hash `json:"hash"`
}

var errStale = errors.New("it is not of this release, or not of this journal")

// readKept reads what was kept of a chain. The head is that of the last record
// that is in it, which the journal has.
func (h *History) readKept(ctx context.Context, c journal.Chain, form int, path string) (body []byte, head journal.Head, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, head, err
	}
	end := len(b) - sha256.Size
	if end < 0 || sha256.Sum256(b[:end]) != [sha256.Size]byte(b[end:]) {
		return nil, head, errors.New("its content does not match its digest")
	}
	line, body, _ := bytes.Cut(b[:end], []byte("\n"))
	var k keptHeader
	if err := json.Unmarshal(line, &k); err != nil {
		return nil, head, fmt.Errorf("its header cannot be read: %w", err)
	}
	if k.Form != form || k.Release != home.Release || k.Run != c.Name() {
		return nil, head, errStale
	}
	for r, err := range h.home.Journal.Read(ctx, c, k.Seq) {
		if err != nil {
			return nil, head, err
		}
		head = r.At()
		break
	}
	if head != (journal.Head{Seq: k.Seq, Hash: k.Hash}) {
		return nil, head, errStale
	}
	return body, head, nil
}

// writeKept keeps a body, in the place of what was kept in that file before.
func writeKept(path string, k keptHeader, body []byte) error {
	line, err := json.Marshal(k)
	if err != nil {
		return err
	}
	b := append(append(line, '\n'), body...)
	sum := sha256.Sum256(b)
	b = append(b, sum[:]...)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// ReadFold reads what was folded of a chain, in a form, and kept under a name in
// the run's folder; false: nothing that is right. The head is that of the last
// record in it.
func (h *History) ReadFold(ctx context.Context, c journal.Chain, name string, form int) (body []byte, head journal.Head, ok bool) {
	if h.home.Folder == "" {
		return nil, head, false
	}
	body, head, err := h.readKept(ctx, c, form, filepath.Join(h.home.RunFolder(c.Run), name))
	return body, head, err == nil
}

// KeepFold keeps what ReadFold reads. It is a courtesy to the next reader: it is
// no error that it cannot be written.
func (h *History) KeepFold(c journal.Chain, name string, form int, head journal.Head, body []byte) {
	if h.home.Folder != "" {
		_ = writeKept(filepath.Join(h.home.RunFolder(c.Run), name), keptHeader{form, home.Release, c.Name(), head.Seq, head.Hash}, body)
	}
}
