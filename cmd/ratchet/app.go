package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"ratchet"
	"ratchet/internal/research"
	"ratchet/study"
)

// The exit statuses of the command line.
const (
	exitDone        = 0
	exitInternal    = 1
	exitUsage       = 2
	exitGate        = 3
	exitFailed      = 4
	exitPaused      = 5
	exitDamaged     = 6
	exitInterrupted = 130
)

// app is what all commands share: the global flags and where to print.
type app struct {
	in       io.Reader
	out, err io.Writer
	home     string
	json     bool
	quiet    bool
	noColor  bool
	logLevel string
	log      *slog.Logger
	stderr   slog.Handler // of log
	file     *slog.Logger // of the home's log alone; nil: nothing is driven
	homeless bool         // the command has nothing to do with a home
	status   int          // exit status of a command that ended without an error
	// stranger is the home, where it is not to be believed.
	stranger *untrustedHome
}

// run executes a command line and returns the exit status.
func run(args []string, in io.Reader, out, errs io.Writer) int {
	out, errs = &person{w: out}, &person{w: errs}
	a := &app{in: in, out: out, err: errs}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.Execute()
	if err == nil {
		return a.status
	}
	a.report(err)
	return statusOf(err)
}

// usageError is a mistake in how a command was called.
type usageError struct{ error }

// silentError ends with a status; what there is to say has been said.
type silentError struct{ status int }

func (s silentError) Error() string { return fmt.Sprintf("exit status %d", s.status) }

func statusOf(err error) int {
	var silent silentError
	switch {
	case errors.As(err, &silent):
		return silent.status
	case errors.Is(err, ratchet.ErrInterrupted):
		return exitInterrupted
	case errors.Is(err, ratchet.ErrBackupLocked), errors.Is(err, fs.ErrNotExist), is[usageError](err), is[*ratchet.ProposalError](err), is[study.Problems](err),
		is[*ratchet.SettingsError](err), is[*ratchet.UnknownRunError](err), is[*ratchet.UnknownTrialError](err), is[*ratchet.UnknownRuleError](err),
		is[*ratchet.NeverDrivenError](err), is[*ratchet.NotYetError](err), is[*ratchet.PositionError](err), is[*ratchet.AmendError](err),
		is[*ratchet.SecretError](err), is[*ratchet.KeysError](err), is[*ratchet.VariableError](err), is[*ratchet.InputsError](err), is[*ratchet.ArrivedError](err), is[*ratchet.DrivenError](err),
		is[*ratchet.NoBackupsError](err), is[*ratchet.UnknownBackupError](err), is[*ratchet.BackupHeldError](err), is[*ratchet.NewerError](err):
		return exitUsage
	case is[*ratchet.RecordDamageError](err), is[*ratchet.ObjectDamageError](err), is[*ratchet.BackupDamageError](err):
		return exitDamaged
	}
	return exitInternal
}

// is reports whether an error is of a type, or wraps one.
func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// report prints an error for a person, or as JSON.
func (a *app) report(err error) {
	if errors.As(err, new(silentError)) {
		return
	}
	var problems study.Problems
	if errors.As(err, &problems) {
		if a.json {
			a.printJSON(map[string]any{"problems": problems})
			return
		}
		fmt.Fprintln(a.err, problems.Error())
		if len(problems) > 1 {
			fmt.Fprintf(a.err, "%s; nothing was run\n", research.Counted(len(problems), "mistake"))
		}
		return
	}
	if a.json {
		a.printJSON(map[string]any{"error": err.Error()})
	}
	fmt.Fprintln(a.err, "ratchet:", err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "ratchet",
		Short: "Carries a study from its question to an evidence-backed report, and survives being killed",
		Long: `Ratchet carries a study from its question to an evidence-backed report,
unattended, for minutes or for days. Whatever crashes, what was acknowledged is
never lost and never done twice: ` + "`ratchet resume`" + ` goes on.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		// How far a mistyped command may be from one that is meant.
		SuggestionsMinimumDistance: 2,
		Version:                    ratchet.Release,
	}
	f := root.PersistentFlags()
	f.StringVar(&a.home, "home", "", "folder of journal, objects and runs (default $RATCHET_HOME, else the nearest .ratchet at or above the working folder)")
	f.BoolVar(&a.json, "json", false, "print one JSON document on stdout, and logs on stderr")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "print results only, no progress")
	f.BoolVar(&a.noColor, "no-color", false, "no colours (also $NO_COLOR)")
	f.StringVar(&a.logLevel, "log-level", "warn", "what to log on stderr: debug, info, warn or error")
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		if a.homeless = homeless(c); a.homeless {
			return a.setLogging()
		}
		stranger, err := a.strangersHome()
		if err != nil {
			return err
		}
		if stranger != nil && acts(c) {
			return usageError{stranger}
		}
		a.stranger = stranger
		if err := a.applyConfig(c); err != nil {
			return err
		}
		return a.setLogging()
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see `%s --help`", err, c.CommandPath())}
	})
	root.Args = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		remedy := "see `ratchet --help`"
		if near := root.SuggestionsFor(args[0]); len(near) > 0 {
			remedy = fmt.Sprintf("did you mean %q?", near[0])
		}
		return usageError{fmt.Errorf("unknown command %q; %s", args[0], remedy)}
	}
	root.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	root.AddCommand(
		a.runCommand(), a.wrapCommand(), a.callsCommand(), a.resumeCommand(), a.statusCommand(), a.listCommand(), a.showCommand(), a.logsCommand(),
		a.demoCommand(), a.healthCommand(), a.metricsCommand(), a.alertsCommand(), a.silenceCommand(), a.costCommand(),
		a.eventsCommand(), a.reportCommand(), a.checkpointsCommand(), a.checkpointCommand(),
		a.rollbackCommand(), a.forkCommand(), a.retryCommand(), a.gcCommand(), a.backupCommand(), a.verifyCommand(), a.attemptCommand(), a.validateCommand(), a.schemaCommand(),
		a.openCommand(), a.askCommand(), a.tellCommand(), a.noteCommand(), a.vetoCommand(), a.closeCommand(), a.mcpCommand(), a.initCommand(), a.trustCommand(), a.doctorCommand(), a.pauseCommand(), a.cancelCommand(), a.configCommand(), a.versionCommand(),
	)
	for _, c := range root.Commands() {
		wrapArgs(c)
	}
	return root
}

// homeless reports whether a command has nothing to do with a home.
func homeless(c *cobra.Command) bool {
	return slices.Contains([]string{"help", "version", "completion", "attempt"}, c.Name())
}

// wrapArgs makes a wrong number of arguments a usage error.
func wrapArgs(c *cobra.Command) {
	check := c.Args
	if check == nil {
		check = cobra.NoArgs
	}
	c.Args = func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usageError{fmt.Errorf("%w; see `%s --help`", err, c.CommandPath())}
		}
		return nil
	}
}

// foundHome is the source of a home that was not named explicitly.
const foundHome = "found at or above the working folder"

// homeFolder finds the home: the flag, the variable, the nearest .ratchet at
// or above the working folder, or .ratchet here.
func (a *app) homeFolder() (path, source string, err error) {
	if a.home != "" {
		return a.home, "--home", nil
	}
	if h := os.Getenv("RATCHET_HOME"); h != "" {
		return h, "$RATCHET_HOME", nil
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", "", err
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		if info, err := os.Stat(filepath.Join(dir, ".ratchet")); err == nil && info.IsDir() {
			return filepath.Join(dir, ".ratchet"), foundHome, nil
		}
		if dir == filepath.Dir(dir) {
			return filepath.Join(wd, ".ratchet"), "default", nil
		}
	}
}

// open opens the home. A command that only reads does not make one.
func (a *app) open(create bool) (*ratchet.Engine, error) {
	folder, _, err := a.homeFolder()
	if err != nil {
		return nil, err
	}
	_, err = os.Stat(filepath.Join(folder, "journal.db"))
	made := errors.Is(err, fs.ErrNotExist)
	if err != nil && (!create || a.stranger != nil) {
		if made {
			return nil, &ratchet.UnknownRunError{}
		}
		return nil, fmt.Errorf("opening the home: %w", err)
	}
	set, err := a.settings()
	if err != nil {
		return nil, err
	}
	private := set.Get("private") != "false"
	if private {
		syscall.Umask(0o077) // of all that is made from here on
	}
	e, err := ratchet.Open(folder, ratchet.OpenOptions{Distrust: a.stranger != nil, SettingsName: settingsName(folder), Announce: func(text string) { fmt.Fprintln(a.err, text) }})
	if err != nil {
		return nil, err
	}
	if a.stranger == nil {
		a.own(folder, made, private)
	}
	return e, nil
}

// with opens the home, finds the run that the first argument names, and calls
// f with it. Without an argument, which says what run is meant.
func (a *app) with(c *cobra.Command, args []string, which which, f func(ctx context.Context, e *ratchet.Engine, run string) error) error {
	e, err := a.open(false)
	if err != nil {
		return err
	}
	defer e.Close()
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	run, err := which.find(c.Context(), e, name)
	if err != nil {
		return err
	}
	return f(c.Context(), e, run)
}

// which says what run a command means that names none.
type which int

const (
	likely which = iota // the one that has not ended, or else the newest
	active              // the one that has not ended
	named               // the only one that there is
)

func (w which) find(ctx context.Context, e *ratchet.Engine, name string) (string, error) {
	if name != "" || w == named {
		return e.Find(ctx, name, nil)
	}
	run, err := e.Find(ctx, "", func(s ratchet.Status) bool { return !s.Ended() })
	if w == likely && is[*ratchet.UnknownRunError](err) {
		return e.Find(ctx, "latest", nil)
	}
	return run, err
}

// withAt is with, and finds the position that --at names; 0: the last.
func (a *app) withAt(c *cobra.Command, args []string, which which, at *string, f func(ctx context.Context, e *ratchet.Engine, run string, at int64) error) error {
	return a.with(c, args, which, func(ctx context.Context, e *ratchet.Engine, run string) error {
		if *at == "" {
			return f(ctx, e, run, 0)
		}
		seq, err := e.Locate(ctx, run, *at)
		if err != nil {
			return err
		}
		return f(ctx, e, run, seq)
	})
}

// atFlag adds --at to a command.
func atFlag(c *cobra.Command, at *string) {
	c.Flags().StringVar(at, "at", "", "as it was at a record's number, a checkpoint, or a time like \"2026-01-31 18:00\" or \"2h ago\"")
}

// interruptible gives a context that the first Ctrl-C, SIGTERM or hang-up
// ends; the second ends the process at once. A hang-up that is ignored stays so.
func (a *app) interruptible(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup has it ignored
		signal.Notify(signals, syscall.SIGHUP)
	}
	stop := make(chan struct{})
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-signals:
				if n > 0 {
					os.Exit(exitInterrupted)
				}
				cancel()
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(stop)
		<-finished
		cancel()
	}
}

func (a *app) printJSON(v any) {
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // ignore write errors to a closed stdout
}

func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.out, format, args...) }
