package engine

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"ratchet/internal/journal"
	"ratchet/internal/objects"
	"ratchet/internal/report"
	"ratchet/internal/research"
)

// Results builds the results of a run as its journal stands.
func (e *Engine) Results(ctx context.Context, run string) (*report.Results, error) {
	return e.ResultsAt(ctx, run, 0)
}

// ResultsAt builds the results of a run as they were at a position; see
// LoadAt.
func (e *Engine) ResultsAt(ctx context.Context, run string, at int64) (*report.Results, error) {
	s, head, err := e.LoadAt(ctx, run, at)
	if err != nil {
		return nil, err
	}
	return e.results(s, head)
}

func (e *Engine) results(s *research.State, head journal.Head) (*report.Results, error) {
	env, err := e.objects.Get(objects.Digest(s.Created.Environment))
	if err != nil {
		return nil, err
	}
	return report.Build(s, report.Journal{Seq: head.Seq, Hash: head.Hash.String()}, json.RawMessage(env)), nil
}

// Publish writes the report of a run into its output folder. It can be done
// again at any time: the folder is a view of the journal and the objects.
func (e *Engine) Publish(ctx context.Context, run string) error {
	s, head, err := e.Load(ctx, run)
	if err != nil {
		return err
	}
	if err := usableOutput(e.Output(s), run); err != nil {
		return err
	}
	r, err := e.results(s, head)
	if err != nil {
		return err
	}
	source, err := e.objects.Get(objects.Digest(s.Created.StudyFile))
	if err != nil {
		return err
	}
	if err := e.report(e.Output(s), r, report.Sources{Study: source, Checkpoints: s.Checkpoints, Objects: e.objects}); err != nil {
		return err
	}
	return e.handOver(s)
}

// handOver puts what a command that ran once left in its working folder into
// the folder "files" of the report.
func (e *Engine) handOver(s *research.State) error {
	if !s.Created.Study.Once() || len(s.Experiments) == 0 || len(s.Experiments[0].Trials) == 0 {
		return nil
	}
	last := s.Experiments[0].Trials[0].Last()
	if last == nil || last.Evidence == "" {
		return nil
	}
	tree, err := e.objects.Tree(objects.Digest(last.Evidence))
	if err != nil {
		return err
	}
	var files objects.Tree
	for _, f := range tree {
		if path, ok := strings.CutPrefix(f.Path, workPrefix); ok && filepath.IsLocal(path) {
			f.Path = path
			files = append(files, f)
		}
	}
	dir := filepath.Join(e.Output(s), "files")
	return errors.Join(os.MkdirAll(dir, 0o755), e.objects.CopyOut(files, dir))
}
