// Package publish builds a run's results from its journal and writes its report.
package publish

import (
	"context"
	"encoding/json"
	"errors"
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

// WriteFunc writes a report into a folder.
type WriteFunc func(dir string, r *report.Results, src report.Sources) error

// Publisher publishes the runs of a home.
type Publisher struct {
	home    *home.Home
	history *history.History
	write   WriteFunc
}

// Of is the publisher of a home's runs. write nil: report.Write.
func Of(h *home.Home, write WriteFunc) *Publisher {
	if write == nil {
		write = report.Write
	}
	return &Publisher{h, history.Of(h), write}
}

// Results builds the results of a run as its journal stands.
func (p *Publisher) Results(ctx context.Context, run string) (*report.Results, error) {
	return p.ResultsAt(ctx, run, 0)
}

// ResultsAt builds the results of a run as they were at a position; see
// LoadAt.
func (p *Publisher) ResultsAt(ctx context.Context, run string, at int64) (*report.Results, error) {
	s, head, err := p.history.LoadAt(ctx, run, at)
	if err != nil {
		return nil, err
	}
	return p.results(s, head)
}

func (p *Publisher) results(s *research.State, head journal.Head) (*report.Results, error) {
	env, err := p.home.Objects.Get(objects.Digest(s.Created.Environment))
	if err != nil {
		return nil, err
	}
	return report.Build(s, report.Journal{Seq: head.Seq, Hash: head.Hash.String()}, json.RawMessage(env)), nil
}

// Publish writes the report of a run into its output folder. It can be done
// again at any time: the folder is a view of the journal and the objects.
func (p *Publisher) Publish(ctx context.Context, run string) error {
	s, head, err := p.history.Load(ctx, run)
	if err != nil {
		return err
	}
	if err := home.MakeReportFolder(p.home.Output(s), run); err != nil {
		return err
	}
	r, err := p.results(s, head)
	if err != nil {
		return err
	}
	source, err := p.home.Objects.Get(objects.Digest(s.Created.StudyFile))
	if err != nil {
		return err
	}
	if err := p.write(p.home.Output(s), r, report.Sources{Study: source, Checkpoints: s.Checkpoints, Objects: p.home.Objects}); err != nil {
		return err
	}
	return p.handOver(s)
}

// handOver puts what a command that ran once left in its working folder into
// the folder "files" of the report.
func (p *Publisher) handOver(s *research.State) error {
	if !s.Created.Study.Once() || len(s.Experiments) == 0 || len(s.Experiments[0].Trials) == 0 {
		return nil
	}
	last := s.Experiments[0].Trials[0].Last()
	if last == nil || last.Evidence == "" {
		return nil
	}
	tree, err := p.home.Objects.Tree(objects.Digest(last.Evidence))
	if err != nil {
		return err
	}
	var files objects.Tree
	for _, f := range tree {
		if path, ok := strings.CutPrefix(f.Path, research.WorkFiles); ok && filepath.IsLocal(path) {
			f.Path = path
			files = append(files, f)
		}
	}
	dir := filepath.Join(p.home.Output(s), "files")
	return errors.Join(os.MkdirAll(dir, 0o755), p.home.Objects.CopyOut(files, dir))
}
