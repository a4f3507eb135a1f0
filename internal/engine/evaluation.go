package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"ratchet/internal/executor"
	"ratchet/internal/failure"
	"ratchet/internal/metrics"
	"ratchet/internal/objects"
	"ratchet/internal/research"
	"ratchet/study"
)

// An evaluation is a job of its own, after the program's, for the same action. It
// has the program's artifacts, as they are kept, in a copy of its own; nothing that
// it does is seen by any program.

// cleanAll removes what the jobs of an action have left.
func (d *driver) cleanAll(ctx context.Context, action string) error {
	if d.study.Evaluation == nil {
		return d.executor.Clean(ctx, action)
	}
	for _, id := range executor.JobsOf(action) {
		if err := d.executor.Clean(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// evaluated is what an evaluation gave.
type evaluated struct {
	out      executor.Outcome
	values   map[string]float64
	problems metrics.Problems
	notes    []string
}

// evaluate has what a program left evaluated: once, also where this engine dies
// meanwhile and another goes on.
func (d *driver) evaluate(ctx context.Context, action string, of executor.Job, evidence string) (*evaluated, error) {
	ev := d.study.Evaluation
	shown, size, err := d.left(evidence)
	if err != nil {
		return nil, err
	}
	job := executor.Job{
		ID: executor.EvaluationOf(action), Run: d.run, Trial: executor.EvaluationOf(action), Experiment: of.Experiment, Attempt: of.Attempt,
		Command: ev.Command, Parameters: of.Parameters, Seed: of.Seed, Limits: ev.Limits, Isolation: of.Isolation, ReadOnly: of.ReadOnly, Path: of.Path, Env: d.env.Variables,
		Inputs: d.binds(ev.Inputs, len(d.study.Program.Inputs)), Files: d.created.Evaluation, Evaluated: shown,
		Keep: executor.KeepTexts, Metrics: d.study.Metrics,
	}
	job.Limits.Disk += study.Bytes(size) // what it looks at lies in its own box
	_, out, err := d.execute(ctx, job, nil)
	if err != nil {
		return nil, err
	}
	if d.wasStopped(out) {
		return nil, executor.ErrStopping
	}
	e := &evaluated{out: out}
	if out.Series != nil {
		e.values, e.problems = out.Series.Values(d.study)
	}
	for _, n := range slices.Concat(reached(out.Reached), out.Notes) {
		e.notes = append(e.notes, "the evaluation: "+n)
	}
	return e, nil
}

// left is the digest of the manifest of what a program left, as an evaluation finds
// it, and the size of that in bytes. evidence "": nothing.
func (d *driver) left(evidence string) (digest string, size int64, err error) {
	var files objects.Tree
	if evidence != "" {
		if files, err = d.engine.Objects.Tree(objects.Digest(evidence)); err != nil {
			return "", 0, err
		}
	}
	shown := shownOf(files)
	for _, f := range shown {
		size += f.Size
	}
	manifest, err := d.engine.Objects.PutTree(shown)
	return string(manifest), size, err
}

// shownOf are the files that an evaluation finds: the program's output folder, and
// what the study wants of its working folder. Where both have a name, or one has a
// file where the other has a folder, it is the output folder's.
func shownOf(files objects.Tree) objects.Tree {
	var out objects.Tree
	taken := map[string]bool{} // by path: whether it is a file
	for _, prefix := range []string{research.OutputFiles, research.WorkFiles} {
		for _, f := range files {
			rest, ok := strings.CutPrefix(f.Path, prefix)
			if _, there := taken[rest]; !ok || there {
				continue
			}
			var above []string
			for dir := path.Dir(rest); dir != "."; dir = path.Dir(dir) {
				above = append(above, dir)
			}
			if slices.ContainsFunc(above, func(dir string) bool { return taken[dir] }) {
				continue
			}
			for _, dir := range above {
				taken[dir] = false
			}
			taken[rest] = true
			f.Path = rest
			out = append(out, f)
		}
	}
	return out
}

// nullTests is the effect of a CheckEvaluation action.
func (d *driver) nullTests(a research.Action) func(context.Context) result {
	plain := d.sandboxed(executor.NullProgram, d.study.Evaluation.Null, d.state.Snapshot)
	plain.Parameters, plain.Attempt = study.Params{}, 1
	if len(d.state.Plan.Seeds) > 0 {
		plain.Seed = d.state.Plan.Seeds[0]
	}
	return func(ctx context.Context) result {
		checked := research.EvaluationChecked{Action: a.ID}
		test := func(id, of, left string) error {
			e, err := d.evaluate(ctx, id, plain, left)
			if err != nil {
				return err
			}
			ev := evidence(e.out)
			ev.BadOutput = badOutput(d.study, e.values, e.problems)
			v := failure.Classify(ev)
			t := research.NullTest{Of: of, Class: v.Class, Message: research.Printable(d.engine.secrets.Text(v.Message), 500)}
			if v.Class == research.Succeeded {
				t.Metrics, t.Message = d.named(e.values), ""
			}
			checked.Checks = append(checked.Checks, t)
			return nil
		}
		err := test(executor.NullFolder, "an empty folder", "")
		if err == nil && len(plain.Command) > 0 {
			err = d.nullProgram(ctx, plain, test)
		}
		switch {
		case errors.Is(err, executor.ErrStopping):
			return result{events: []research.Payload{checked}, stopped: true}
		case err != nil:
			return result{err: fmt.Errorf("checking the evaluation: %w", err)}
		}
		checked.Refused = d.refuses(checked.Checks)
		return result{events: []research.Payload{checked}, done: func() error { return d.cleanAll(context.Background(), a.ID) }}
	}
}

// nullProgram runs the command that does nothing, and has what it leaves evaluated.
func (d *driver) nullProgram(ctx context.Context, job executor.Job, test func(id, of, evidence string) error) error {
	_, out, err := d.execute(ctx, job, nil)
	if err != nil {
		return err
	}
	if d.wasStopped(out) {
		return executor.ErrStopping
	}
	if v := failure.Classify(evidence(out)); v.Class != research.Succeeded {
		return fmt.Errorf("evaluation.null, which is to do nothing, ended as %s: %s", v.Class, v.Message)
	}
	return test(executor.NullProgram, "what evaluation.null leaves", out.Evidence)
}

// refuses says why an evaluation measures nothing; "": it may. Nothing passes it
// where it has a value of the objective, and that meets all that the study's gates
// ask of the best configuration.
func (d *driver) refuses(tests []research.NullTest) string {
	for _, t := range tests {
		if t.Class != research.Succeeded {
			continue
		}
		facts := study.Facts{Best: map[string]any{}}
		for name, v := range t.Metrics {
			facts.Best[name] = v
		}
		passes := true
		for _, g := range d.study.Gates {
			if met, err := g.Eval(facts); strings.Contains(string(g), "best.") && (err != nil || !met) {
				passes = false
			}
		}
		if passes {
			var figures []string
			for _, name := range slices.Sorted(maps.Keys(t.Metrics)) {
				figures = append(figures, fmt.Sprintf("%s %.6g", name, t.Metrics[name]))
			}
			return fmt.Sprintf("of %s it says %s, so anybody passes it; let it end with an error where there is nothing to evaluate, or state a gate that this does not meet, like best.%s %s …",
				t.Of, strings.Join(figures, ", "), d.study.Objective.Metric, map[string]string{study.Maximize: ">", study.Minimize: "<"}[d.study.Objective.Goal])
		}
	}
	return ""
}
