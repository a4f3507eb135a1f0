package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"ratchet/internal/environment"
	"ratchet/internal/gateway/provider"
	"ratchet/internal/history"
	"ratchet/internal/home"
	"ratchet/internal/journal"
	"ratchet/internal/objects"
	"ratchet/internal/research"
	"ratchet/internal/sandbox"
	"ratchet/internal/shim"
	"ratchet/internal/untrusted"
	"ratchet/study"
)

// RunOptions say how a run is made of a study.
type RunOptions struct {
	Output         string            // folder of the report; default results/<run> in the working folder
	Seed           int64             // default 1
	Isolation      sandbox.Isolation // default sandbox.Strict
	MaxExperiments int               // lowers search.experiments; 0: as the study says
	Parallel       int               // overrides parallel; 0: as the study says
	Executor       string
	Model          string
	// AllowInputs are inputs that programs are to see although there are keys.
	AllowInputs []string
	// Env are variables that programs get: NAME=VALUE, or NAME for what this process's
	// environment has when attempts are started. It grants those that the study itself
	// names so.
	Env []string
	// Pricing says what models cost that nothing else has a price of.
	Pricing
}

// Pricing is what a person says of the prices of models.
type Pricing struct {
	Prices        map[string]study.ModelPrice // by provider/model
	AllowUnpriced bool                        // models without a price may be called
}

// NotYetError says that a study asks for what this release does not have.
type NotYetError struct{ What, Remedy string }

func (n *NotYetError) Error() string { return n.What + "; " + n.Remedy }

// SecretError says that a study file has something in it that must not get
// into a journal.
type SecretError struct{ File, Kind string }

func (s *SecretError) Error() string {
	return fmt.Sprintf("%s: it seems to have a secret in it (%s), and a study stands in the journal and in the report for everybody to read; take it out", s.File, s.Kind)
}

// Check reads a study file, lays the options over it, and refuses what this
// release or this machine cannot run. It changes nothing.
func Check(file string, data []byte, o RunOptions) (*study.Study, error) {
	st, err := study.Load(file, filepath.Dir(file), data)
	if err != nil {
		return nil, err
	}
	granted, err := o.adjust(st)
	if err != nil {
		return nil, err
	}
	if err := supported(st); err != nil {
		return nil, err
	}
	if err := environment.CheckGranted(st, granted); err != nil {
		return nil, err
	}
	if err := checkVariables(st); err != nil {
		return nil, err
	}
	if _, err := environment.Given(st); err != nil {
		return nil, err
	}
	if err := environment.CheckAllowed(st, filepath.Dir(file), o.AllowInputs); err != nil {
		return nil, err
	}
	if err := shim.Probe(o.isolation()); err != nil {
		return nil, err
	}
	return st, promised(st, o.isolation())
}

// promised refuses limits that the study asks for and that a level of
// isolation cannot hold. Defaults do not count.
func promised(st *study.Study, level sandbox.Isolation) error {
	if level == sandbox.Strict {
		return nil
	}
	a := st.Limits.Attempt
	switch {
	case st.Asked("limits.attempt.network") && a.Network == study.NetworkNone:
		return &NotYetError{"the study asks for `network: none`, and process isolation keeps no program from the network", "use strict isolation, or set limits.attempt.network to host"}
	case st.Asked("limits.attempt.processes") && !sandbox.BoundsProcesses():
		return &NotYetError{"the study asks for `processes`, and process isolation bounds them only with control groups, which this user cannot make here", "use strict isolation, or remove limits.attempt.processes"}
	}
	return nil
}

// Create makes a run of a study file: it keeps the program's files and the
// facts about inputs and environment, and begins the journal. When it returns,
// the run is durable and waits to be driven.
func (e *Engine) Create(ctx context.Context, file string, data []byte, o RunOptions) (string, error) {
	st, err := Check(file, data, o)
	if err != nil {
		return "", err
	}
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return "", err
	}
	if kind := e.secrets.Has(string(data)); kind != "" {
		return "", &SecretError{file, kind}
	}
	for _, v := range st.Program.Env {
		if v.Value != nil && e.secrets.Has(v.Name+"="+*v.Value) != "" {
			return "", &NotYetError{fmt.Sprintf("the value of the variable %s seems to be a secret, and would stand in the journal", v.Name), fmt.Sprintf("give its name alone: export %s=…, and --env %s", v.Name, v.Name)}
		}
	}
	done, err := e.LockShared()
	if err != nil {
		return "", err
	}
	defer done()
	run, err := e.NewName(ctx, st.Name)
	if err != nil {
		return "", err
	}
	if o.Output == "" {
		o.Output = filepath.Join("results", run)
	}
	if o.Output, err = filepath.Abs(o.Output); err != nil {
		return "", err
	}
	if err := home.MakeReportFolder(o.Output, run); err != nil {
		return "", err
	}
	created := research.RunCreated{
		Run: run, Study: st, Folder: dir, Seed: cmp.Or(o.Seed, 1), Draw: research.DrawnByHMAC, Isolation: string(o.isolation()), Output: o.Output, Release: home.Release,
		Prices: o.Prices, AllowUnpriced: o.AllowUnpriced,
	}
	if err := e.record(ctx, &created, data); err != nil {
		return "", fmt.Errorf("recording the study: %w", err)
	}
	priors, err := e.learn(ctx, st, dir)
	if err != nil {
		return "", err
	}
	c := history.NewClock(e.Now, time.Time{})
	entry, err := history.Encode(created, c.Now())
	if err != nil {
		return "", err
	}
	if len(entry.Payload) > journal.MaxPayload {
		return "", fmt.Errorf("the study has %d bytes when written out; at most %d fit", len(entry.Payload), journal.MaxPayload)
	}
	entries := []journal.Entry{entry}
	for _, p := range priors {
		if entry, err = history.Encode(p, c.Now()); err != nil {
			return "", err
		}
		entries = append(entries, entry)
	}
	_, err = e.Journal.Append(ctx, journal.Of(run), journal.Head{}, entries...)
	return run, err
}

func (o RunOptions) isolation() sandbox.Isolation { return cmp.Or(o.Isolation, sandbox.Strict) }

// adjust lays the options over a study. granted are the names of the variables that
// the options give from this process's environment.
func (o RunOptions) adjust(st *study.Study) (granted []string, err error) {
	if o.MaxExperiments > 0 {
		st.Search.Experiments = min(st.Search.Experiments, o.MaxExperiments)
	}
	if o.Parallel > 0 {
		st.Parallel = o.Parallel
	}
	if o.Executor != "" {
		st.Executor = o.Executor
	}
	if o.Model != "" {
		st.Model = o.Model
	}
	for _, text := range o.Env {
		v, err := study.ParseEnvVar(text)
		if err != nil {
			return nil, &NotYetError{err.Error(), "see --env"}
		}
		st.Program.SetEnv(v)
		if v.Value == nil {
			granted = append(granted, v.Name)
		}
	}
	return granted, nil
}

// checkVariables refuses to give programs a key of a provider that they call through
// the gateway: it is the gateway that has it.
func checkVariables(st *study.Study) error {
	for _, name := range st.Program.Wanted() {
		if st.Models != nil && slices.Contains(provider.KeyNames(), name) {
			return &NotYetError{fmt.Sprintf("programs get a token of the gateway's as %s, which holds the real key", name), "remove it from program.env and --env"}
		}
	}
	return nil
}

func supported(st *study.Study) error {
	switch {
	case st.Executor != "local":
		return &NotYetError{fmt.Sprintf("this release has no %s executor", st.Executor), "set executor: local, or remove the line"}
	case st.Model != "":
		return &NotYetError{"this release has no language-model scientist", "remove `model` and state parameters and hypotheses in the study"}
	case st.Search.Method == study.Tree:
		return &NotYetError{"tree search needs a language model, which this release has none of", "set search.method to auto, or to another that `ratchet schema` lists"}
	}
	return nil
}

// record stores what the run depends on.
func (e *Engine) record(ctx context.Context, c *research.RunCreated, data []byte) error {
	source, err := e.Objects.PutBytes(data)
	if err != nil {
		return err
	}
	folder, err := untrusted.Open(c.Folder)
	if err != nil {
		return err
	}
	defer folder.Close()
	tree, err := e.Objects.PutPaths(folder, c.Study.Program.Files, c.Study.Program.HasInput)
	if err != nil {
		return err
	}
	snapshot, err := e.Objects.PutTree(tree)
	if err != nil {
		return err
	}
	if ev := c.Study.Evaluation; ev != nil {
		if tree, err = e.Objects.PutPaths(folder, ev.Files, ev.HasInput); err != nil {
			return err
		}
		files, err := e.Objects.PutTree(tree)
		if err != nil {
			return err
		}
		c.Evaluation = string(files)
	}
	if c.Inputs, err = e.recordInputs(c.Study.AllInputs(), c.Folder); err != nil {
		return err
	}
	env, err := environment.Inspect(ctx, c, e.secrets)
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(env, "", "  ")
	if err != nil {
		return err
	}
	environment, err := e.Objects.PutBytes(b)
	if err != nil {
		return err
	}
	c.StudyFile, c.Snapshot, c.Environment = string(source), string(snapshot), string(environment)
	c.Machine = research.Machine{CPUs: runtime.NumCPU(), Memory: env.Memory, GPUs: len(env.GPUs)}
	return nil
}

// environment reads back what inspect recorded.
func (e *Engine) environment(c research.RunCreated) (environment.Environment, error) {
	var env environment.Environment
	b, err := e.Objects.Get(objects.Digest(c.Environment))
	if err == nil {
		err = json.Unmarshal(b, &env)
	}
	if err != nil {
		return env, fmt.Errorf("reading the environment of run %s: %w", c.Run, err)
	}
	return env, nil
}
