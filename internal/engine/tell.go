package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"ratchet/internal/journal"
	"ratchet/internal/patch"
	"ratchet/internal/research"
	"ratchet/study"
)

// Proposal is an experiment that somebody proposes to an open run.
type Proposal struct {
	// Parent is the experiment that it changes; empty: the best so far.
	Parent string
	// Code is a folder with the program's files, or Patch a unified diff against the parent's;
	// empty: the parent's code.
	Code  string
	Patch []byte
	// Parameters are values that differ from the parent's.
	Parameters study.Params
	Why        string
	Hypothesis string
	Who        string
}

// ProposalError says why a proposal is refused, and what would be right. Nothing was changed.
type ProposalError struct{ What, Remedy string }

func (p *ProposalError) Error() string { return p.What + "; " + p.Remedy }

// Told is what became of a proposal when it was told.
type Told struct {
	Experiment string
	Again      bool // it was proposed before: Experiment is that one
}

// mostWords bounds what is said of a proposal, in bytes.
const mostWords = 2000

// Tell proposes an experiment to an open run. It is durable on return, and measured when the
// run is driven. A proposal with code and parameters that were proposed before changes nothing,
// and gives that experiment: so it is safe to repeat. The error is a ProposalError where
// the run does not take it.
func (e *Engine) Tell(ctx context.Context, run string, p Proposal) (Told, error) {
	done, err := e.LockShared() // its code is not referenced yet
	if err != nil {
		return Told{}, err
	}
	defer done()
	for {
		s, head, err := e.Load(ctx, run)
		if err != nil {
			return Told{}, err
		}
		event, err := e.proposed(s, p)
		if err != nil {
			return Told{}, err
		}
		if tried := s.TriedAs(event.Parameters, event.Code); tried != "" {
			return Told{tried, true}, nil
		}
		if why := s.Taking(); why != "" {
			return Told{}, &ProposalError{fmt.Sprintf("run %s takes no proposal: %s", run, why), "`ratchet status` says where it stands"}
		}
		event.Experiment, event.Seeds = s.NextExperiment(), s.FirstSeeds()
		err = e.AppendTo(ctx, run, head, s.Time, event)
		if errors.As(err, new(*journal.ConflictError)) {
			continue // somebody else wrote meanwhile
		}
		return Told{event.Experiment, false}, err
	}
}

// proposed makes an event of a proposal: its code is stored, and nothing is journaled yet.
func (e *Engine) proposed(s *research.State, p Proposal) (event research.ExperimentProposed, err error) {
	st := s.Created.Study
	if !st.Open() {
		return event, &ProposalError{fmt.Sprintf("run %s takes no proposal: %s", s.Created.Run, s.Taking()), "make a run of such a study with `ratchet open`"}
	}
	parent := s.Standing()
	if p.Parent != "" {
		if parent = s.Experiment(p.Parent); parent == nil {
			return event, &ProposalError{fmt.Sprintf("there is no experiment %q to change", p.Parent), fmt.Sprintf("`ratchet show %s` lists them", s.Created.Run)}
		}
	}
	if parent == nil && len(s.Experiments) > 0 {
		parent = s.Experiments[0]
	}
	if parent == nil {
		return event, &ProposalError{fmt.Sprintf("run %s takes no proposal: %s", s.Created.Run, s.Taking()), "tell it again in a moment"}
	}
	words := func(what, text string) (string, error) {
		text = strings.TrimSpace(text)
		if len(text) > mostWords {
			return "", &ProposalError{fmt.Sprintf("%s has %d bytes", what, len(text)), fmt.Sprintf("say it in %d", mostWords)}
		}
		return e.secrets.Text(text), nil
	}
	event = research.ExperimentProposed{Parent: parent.Experiment, Who: p.Who, By: &research.Proposer{Method: study.Open}}
	if event.Why, err = words("why", p.Why); err != nil {
		return event, err
	}
	if event.Why == "" {
		return event, &ProposalError{"the proposal does not say why", "say in a sentence what it changes and what it should bring: --why"}
	}
	if event.Hypothesis, err = words("the hypothesis", p.Hypothesis); err != nil {
		return event, err
	}
	if event.Parameters, err = overlaid(st, parent.Parameters, p.Parameters); err != nil {
		return event, err
	}
	base := cmp.Or(parent.Code, s.Snapshot)
	code, err := e.proposedCode(st, base, p)
	if err != nil {
		return event, err
	}
	if code != s.Snapshot {
		event.Code = code
	}
	event.Changes, err = patch.Changes(e.Objects, base, code)
	return event, err
}

// overlaid are the parent's parameters with others in their place.
func overlaid(st *study.Study, parent, others study.Params) (study.Params, error) {
	p := maps.Clone(parent)
	if p == nil {
		p = study.Params{}
	}
	for name, v := range others {
		d, ok := st.Parameter(name)
		switch {
		case !ok:
			return nil, &ProposalError{fmt.Sprintf("%q is not a parameter", name), "the parameters are " + cmp.Or(strings.Join(parameterNames(st), ", "), "none")}
		case !d.Allows(v):
			return nil, &ProposalError{fmt.Sprintf("%s is never %s", name, study.FormatValue(v)), "see `parameters` in the study"}
		}
		p[name] = v
	}
	fits, why := st.Fit(p)
	if why != "" {
		return nil, &ProposalError{"the configuration is not whole: " + why, "give it a value that it can take"}
	}
	for name := range others {
		if _, ok := fits[name]; !ok {
			return nil, &ProposalError{fmt.Sprintf("%s does not exist with the other values", name), "leave it out, or change what it depends on"}
		}
	}
	return fits, nil
}

func parameterNames(st *study.Study) (out []string) {
	for _, d := range st.Parameters {
		out = append(out, d.Name)
	}
	return out
}

// Word journals what a person or an agent says of an open run: a NoteMade, an ExperimentVetoed
// or a CloseRequested. It is durable on return. One that speaks of an experiment that there
// is not, or of a run that takes none, is a ProposalError.
func (e *Engine) Word(ctx context.Context, run string, word research.Payload) error {
	s, _, err := e.Load(ctx, run)
	if err != nil {
		return err
	}
	if !s.Created.Study.Open() {
		return &ProposalError{fmt.Sprintf("run %s is not open: %s", run, s.Taking()), "make a run of such a study with `ratchet open`"}
	}
	about := ""
	switch w := word.(type) {
	case research.NoteMade:
		if w.Text = e.secrets.Text(strings.TrimSpace(w.Text)); w.Text == "" || len(w.Text) > mostWords {
			return &ProposalError{fmt.Sprintf("the note has %d bytes", len(w.Text)), fmt.Sprintf("say something, in %d at most", mostWords)}
		}
		about, word = w.Experiment, w
	case research.ExperimentVetoed:
		about = w.Experiment
		if x := s.Experiment(about); x != nil && x.Index == 0 {
			return &ProposalError{"the start cannot be vetoed", "close the run, and open one with another start"}
		}
		if s.Closing != "" && s.Stage != research.Experimentation {
			return &ProposalError{fmt.Sprintf("run %s is being validated, or has ended", run), "`ratchet rollback` goes back before that"}
		}
	case research.CloseRequested:
		if s.Closing != "" {
			return nil // it is closed
		}
	}
	if about != "" && s.Experiment(about) == nil {
		return &ProposalError{fmt.Sprintf("there is no experiment %q", about), fmt.Sprintf("`ratchet show %s` lists them", run)}
	}
	return e.Request(ctx, run, word)
}
