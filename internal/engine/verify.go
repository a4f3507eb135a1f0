package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"ratchet/internal/journal"
	"ratchet/internal/objects"
	"ratchet/internal/report"
	"ratchet/internal/research"
)

// Verification is what Verify found.
type Verification struct {
	Runs    int      `json:"runs"`
	Records int64    `json:"records"`
	Objects int      `json:"objects"`
	Damages []string `json:"damages"`
}

// Verify checks runs, all of them if none is named: the chain of records, the
// fold, every object that is spoken of, and the published results. It goes on
// behind a damage, and lists all it finds.
func (e *Engine) Verify(ctx context.Context, runs []string) (*Verification, error) {
	v := &Verification{Damages: []string{}}
	if len(runs) == 0 {
		all, err := e.journal.Runs(ctx)
		if err != nil {
			v.Damages = append(v.Damages, err.Error())
			return v, nil
		}
		runs = all
	}
	checked := map[objects.Digest]bool{}
	for _, run := range runs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		v.Runs++
		e.verifyRun(ctx, run, v, checked)
	}
	v.Objects = len(checked)
	return v, nil
}

func (e *Engine) verifyRun(ctx context.Context, run string, v *Verification, checked map[objects.Digest]bool) {
	damaged := func(format string, args ...any) {
		v.Damages = append(v.Damages, fmt.Sprintf(format, args...))
	}
	s := research.New()
	var head journal.Head
	for r, err := range e.journal.Read(ctx, run, 1) {
		if err != nil {
			var known *journal.DamageError
			if errors.As(err, &known) && known.Run == "" {
				known.Run, known.Seq = run, head.Seq+1
			}
			damaged("%v; nothing behind it can be trusted", err)
			return
		}
		v.Records++
		if err := apply(s, r); err != nil {
			damaged("run %s, record %d cannot be folded: %v", run, r.Seq, err)
			return
		}
		head = journal.Head{Seq: r.Seq, Hash: r.Hash}
	}
	if s.Seq == 0 {
		damaged("run %s has no records", run)
		return
	}
	for _, ref := range references(s) {
		e.verifyObject(run, ref.what, ref.digest, ref.tree, checked, damaged)
	}
	e.verifyResults(s, head, damaged)
}

// reference is an object that a run speaks of.
type reference struct {
	what   string
	digest objects.Digest
	tree   bool
}

func references(s *research.State) []reference {
	c := s.Created
	out := []reference{
		{"its study file", objects.Digest(c.StudyFile), false},
		{"its program's files", objects.Digest(c.Snapshot), true},
		{"its environment", objects.Digest(c.Environment), false},
	}
	if c.Inputs != "" {
		out = append(out, reference{"its inputs' record", objects.Digest(c.Inputs), false})
	}
	if s.Snapshot != c.Snapshot {
		out = append(out, reference{"its built program", objects.Digest(s.Snapshot), true})
	}
	for _, x := range s.Experiments {
		for _, t := range x.Trials {
			for _, a := range t.Attempts {
				if a.Evidence != "" {
					out = append(out, reference{"what attempt " + a.ID + " left", objects.Digest(a.Evidence), true})
				}
			}
		}
	}
	return out
}

func (e *Engine) verifyObject(run, what string, d objects.Digest, tree bool, checked map[objects.Digest]bool, damaged func(string, ...any)) {
	whole := func(d objects.Digest, what string) bool {
		if done, ok := checked[d]; ok {
			return done
		}
		err := e.objects.Verify(d)
		if checked[d] = err == nil; err != nil {
			damaged("run %s, %s: %v", run, what, err)
		}
		return err == nil
	}
	if !whole(d, what) || !tree {
		return
	}
	files, err := e.objects.Tree(d)
	if err != nil {
		damaged("run %s, %s: %v", run, what, err)
		return
	}
	for _, f := range files {
		whole(f.Digest, fmt.Sprintf("%s, %s", what, f.Path))
	}
}

// verifyResults compares a published results.json with the journal.
func (e *Engine) verifyResults(s *research.State, head journal.Head, damaged func(string, ...any)) {
	path := filepath.Join(s.Created.Output, "results.json")
	b, err := os.ReadFile(path)
	if err != nil || !s.Ended() {
		return // not published yet, or moved away: the journal has it all
	}
	var r report.Results
	if err := json.Unmarshal(b, &r); err != nil {
		damaged("%s is not what was written: %v", path, err)
		return
	}
	if r.Run != s.Created.Run {
		return
	}
	if !r.CheckDigest() {
		damaged("%s does not match its own digest", path)
		return
	}
	if r.Journal.Hash != head.Hash.String() {
		damaged("%s names record %d, %s, as the last one; the journal's is %d, %s", path, r.Journal.Seq, r.Journal.Hash, head.Seq, head.Hash)
		return
	}
	if now, err := e.results(s, head); err == nil && now.Digest != r.Digest {
		damaged("%s does not say what the journal says", path)
	}
}
