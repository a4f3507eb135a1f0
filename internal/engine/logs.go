package engine

import (
	"io"
	"strings"

	"ratchet/internal/objects"
	"ratchet/internal/research"
)

// Log is the stdout or stderr of an attempt.
type Log struct {
	Attempt string
	Name    string                        // stdout or stderr
	Live    bool                          // it may still grow
	Open    func() (io.ReadCloser, error) // without secrets
}

// Logs lists the outputs of a run's attempts, or of those of an experiment or
// of trials whose ids begin like trial, those that run included, in the order of
// the journal.
func (e *Engine) Logs(s *research.State, trial string) ([]Log, error) {
	var out []Log
	for _, x := range s.Experiments {
		for _, t := range x.Trials {
			if !names(trial, x.Experiment, t.ID) {
				continue
			}
			for _, a := range t.Attempts {
				kept, err := e.keptStreams(a)
				if err != nil {
					return nil, err
				}
				out = append(out, kept...)
			}
		}
	}
	x := e.executor(s.Created.Run)
	defer x.Close()
	for _, p := range s.Pending {
		if p.Kind != research.Try || !names(trial, p.Experiment, p.Trial) {
			continue
		}
		for _, name := range []string{"stdout", "stderr"} {
			out = append(out, Log{p.ID, name, true, func() (io.ReadCloser, error) {
				f, err := x.Output(p.ID, name)
				if err != nil {
					return nil, err
				}
				return struct {
					io.Reader
					io.Closer
				}{e.secrets.Reader(f), f}, nil
			}})
		}
	}
	return out, nil
}

// names reports whether a text names a trial, or the experiment of it; an empty
// one names all.
func names(text, experiment, trial string) bool {
	return text == "" || text == experiment || strings.HasPrefix(text, experiment+"-") && strings.HasPrefix(trial, text)
}

func (e *Engine) keptStreams(a research.Attempt) ([]Log, error) {
	if a.Evidence == "" {
		return nil, nil
	}
	tree, err := e.Objects.Tree(objects.Digest(a.Evidence))
	if err != nil {
		return nil, err
	}
	var out []Log
	for _, f := range tree {
		if f.Path == "stdout" || f.Path == "stderr" {
			out = append(out, Log{a.ID, f.Path, false, func() (io.ReadCloser, error) { return e.Objects.Open(f.Digest) }})
		}
	}
	return out, nil
}
