package maintenance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ratchet/internal/history"
	"ratchet/internal/home"
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
	// Heads are records whose hashes were kept elsewhere, and that are there.
	Heads []Head `json:"heads,omitempty"`
}

// Head is a record by its hash. All records before it are those that it was
// written behind.
type Head struct {
	Run  string `json:"run"`
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
}

// VerifyHeads looks for records by their hashes, or the beginnings of such, in
// runs, in all if none is named, and adds to a verification which are there. One
// that is not is damage.
func (m *Maintenance) VerifyHeads(ctx context.Context, v *Verification, runs, heads []string) error {
	if len(heads) == 0 {
		return nil
	}
	if len(runs) == 0 {
		var err error
		if runs, err = m.home.Runs(ctx); err != nil {
			return err
		}
	}
	found := map[string]bool{}
	for _, c := range chainsOf(runs) {
		for r, err := range m.home.Journal.Read(ctx, c, 1) {
			if err != nil {
				break // Verify has named it
			}
			hash := r.Hash.String()
			for _, h := range heads {
				if strings.HasPrefix(hash, h) {
					found[h] = true
					v.Heads = append(v.Heads, Head{c.Name(), r.Seq, hash})
				}
			}
		}
	}
	for _, h := range heads {
		if !found[h] {
			v.Damages = append(v.Damages, fmt.Sprintf("no record has the hash %s: what it was kept of was written anew, or is another home's", h))
		}
	}
	return ctx.Err()
}

// chainsOf are all chains of runs.
func chainsOf(runs []string) []journal.Chain {
	var out []journal.Chain
	for _, run := range runs {
		for _, k := range journal.Kinds {
			out = append(out, journal.Chain{Run: run, Kind: k})
		}
	}
	return out
}

// Verify checks runs, all of them if none is named: the chain of records, the
// fold, every object that is spoken of, and the published results. It goes on
// behind a damage, and lists all it finds.
func (m *Maintenance) Verify(ctx context.Context, runs []string) (*Verification, error) {
	v := &Verification{Damages: []string{}}
	if len(runs) == 0 {
		all, err := m.home.Runs(ctx)
		if err != nil {
			v.Damages = append(v.Damages, err.Error())
			return v, nil
		}
		runs = all
		lost, err := home.LostRuns(m.home.Folder, all)
		if err != nil {
			return nil, err
		}
		for _, run := range lost {
			v.Damages = append(v.Damages, fmt.Sprintf("run %s has a folder, and no records in the journal", run))
		}
	}
	checked := map[objects.Digest]bool{}
	for _, run := range runs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		v.Runs++
		for _, k := range journal.Kinds {
			m.verifyChain(ctx, journal.Chain{Run: run, Kind: k}, v, checked)
		}
	}
	v.Objects = len(checked)
	return v, nil
}

func (m *Maintenance) verifyChain(ctx context.Context, c journal.Chain, v *Verification, checked map[objects.Digest]bool) {
	damaged := func(format string, args ...any) {
		v.Damages = append(v.Damages, fmt.Sprintf(format, args...))
	}
	var last int64
	for r, err := range m.home.Journal.Read(ctx, c, 1) {
		if err != nil {
			var known *journal.RecordDamageError
			if errors.As(err, &known) && known.Chain == (journal.Chain{}) {
				known.Chain, known.Seq = c, last+1
			}
			damaged("%v; nothing behind it can be trusted", err)
			return
		}
		v.Records++
		refs, err := research.ReferencesIn(r.Type, r.Version, r.Payload)
		if err != nil {
			damaged("run %s, record %d cannot be read: %v", c, r.Seq, err)
			return
		}
		last = r.Seq
		for _, ref := range refs {
			m.verifyObject(c.Name(), ref, checked, damaged)
		}
	}
	if c.Kind != journal.KindRun {
		return
	}
	run := c.Run
	spans, err := m.history.Timeline(ctx, run, 0)
	if err != nil {
		damaged("run %s: %v", run, err)
		return
	}
	kept := m.history.KeptDigests(ctx, run, spans, damaged)
	s, _, err := m.history.FoldSpans(ctx, run, spans, func(s *research.State) { // afresh, whatever is kept
		if digest, there := kept[s.Seq]; there && digest != s.Digest() {
			damaged("run %s, the kept state of record %d is not what the journal says; remove %s", run, s.Seq, m.history.StateFolder(run))
		}
	})
	if err != nil {
		damaged("run %s cannot be folded: %v", run, err)
		return
	}
	if s.Seq == 0 {
		damaged("run %s has no records", run)
		return
	}
	m.verifyResults(ctx, s, damaged)
}

func (m *Maintenance) verifyObject(run string, ref research.Reference, checked map[objects.Digest]bool, damaged func(string, ...any)) {
	whole := func(d objects.Digest, what string) bool {
		if done, ok := checked[d]; ok {
			return done
		}
		err := m.home.Objects.Verify(d)
		if checked[d] = err == nil; err != nil {
			damaged("run %s, %s: %v", run, what, err)
		}
		return err == nil
	}
	d := objects.Digest(ref.Digest)
	if !whole(d, ref.What) || !ref.Tree {
		return
	}
	files, err := m.home.Objects.Tree(d)
	if err != nil {
		damaged("run %s, %s: %v", run, ref.What, err)
		return
	}
	for _, f := range files {
		for _, d := range f.Objects() {
			whole(d, fmt.Sprintf("%s, %s", ref.What, f.Path))
		}
	}
}

// verifyResults compares a published results.json with the journal, as it was
// at the record that the results name.
func (m *Maintenance) verifyResults(ctx context.Context, s *research.State, damaged func(string, ...any)) {
	path := filepath.Join(m.home.Output(s), "results.json")
	b, err := os.ReadFile(path)
	if err != nil {
		return // not published yet, or moved away: the journal has it all
	}
	var r report.Results
	strict := json.NewDecoder(bytes.NewReader(b))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&r); err != nil {
		damaged("%s is not what was written: %v", path, err)
		return
	}
	if r.Run != s.Created.Run {
		damaged("%s has the results of another run, %s", path, research.Printable(r.Run, 100))
		return
	}
	if !r.CheckDigest() {
		damaged("%s does not match its own digest", path)
		return
	}
	now, err := m.publisher.ResultsAt(ctx, r.Run, r.Journal.Seq)
	switch {
	case errors.As(err, new(*history.PositionError)):
		damaged("%s names record %d as the last one; the journal's is %d", path, r.Journal.Seq, s.Seq)
	case err != nil: // what it is made of is damaged, and was named
	case now.Journal.Hash != r.Journal.Hash:
		damaged("%s names %s as the hash of record %d; the journal's is %s", path, r.Journal.Hash, r.Journal.Seq, now.Journal.Hash)
	case now.Digest != r.Digest || !same(now, &r):
		damaged("%s does not say what the journal says", path)
	}
}

// same compares results that were published with those that the journal gives,
// but for what a later release may compute in another way.
func same(a, b *report.Results) bool {
	text := func(r report.Results) []byte {
		r.Importance, r.Outlook = nil, nil
		b, err := json.Marshal(r)
		if err != nil {
			return nil
		}
		return b
	}
	return bytes.Equal(text(*a), text(*b))
}
