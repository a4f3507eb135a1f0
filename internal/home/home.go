// Package home is where things lie: the folder with a journal, objects and
// runs, the names of runs, and who works in it.
package home

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ratchet/internal/journal"
	"ratchet/internal/journal/sqlite"
	"ratchet/internal/objects"
	"ratchet/internal/untrusted"
)

// Release is the version of this release.
const Release = "0.2.0"

// Folders in a run's.
const (
	attemptsFolder    = "attempts"
	checkpointsFolder = "checkpoints"
)

// Home is an open home. It is safe for concurrent use; several processes may
// open the same one.
type Home struct {
	Folder  string // absolute; "" where there is none, only a journal
	Journal journal.Journal
	Objects *objects.Store
	Now     func() time.Time
}

// Options replace parts of a home. A nil part is the one in the folder, or the
// machine's clock.
type Options struct {
	Journal journal.Journal // Close closes it
	Objects *objects.Store
	Now     func() time.Time
	// Announce is told, in words, what takes long on opening; nil: it is not announced.
	Announce func(text string)
}

// Open opens the home in a folder, and creates it if need be.
func Open(folder string, o Options) (*Home, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(folder, "runs"), 0o700); err != nil {
		return nil, fmt.Errorf("opening the home: %w", err)
	}
	h := &Home{Folder: folder, Journal: o.Journal, Objects: o.Objects, Now: o.Now}
	if h.Now == nil {
		h.Now = time.Now
	}
	if h.Objects == nil {
		if h.Objects, err = objects.Open(filepath.Join(folder, "objects")); err != nil {
			return nil, err
		}
	}
	if h.Journal == nil {
		if h.Journal, err = sqlite.Open(filepath.Join(folder, "journal.db"), sqlite.Announce(o.Announce)); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// Close closes the journal. No run is driven by then.
func (h *Home) Close() error { return h.Journal.Close() }

// RunFolder is where a run keeps its files while it runs.
func (h *Home) RunFolder(run string) string {
	return filepath.Join(h.Folder, "runs", untrusted.Name(run))
}

// AttemptFolder is where the files of a run's attempt are while it runs.
func (h *Home) AttemptFolder(run, attempt string) string {
	return filepath.Join(h.AttemptFolders(run), untrusted.Name(attempt))
}

// AttemptFolders is the folder with those of a run's attempts.
func (h *Home) AttemptFolders(run string) string {
	return filepath.Join(h.RunFolder(run), attemptsFolder)
}

// CheckpointFolders is the folder with what a run's trials keep for their next
// attempts.
func (h *Home) CheckpointFolders(run string) string {
	return filepath.Join(h.RunFolder(run), checkpointsFolder)
}

// Runs lists the runs of the home, sorted.
func (h *Home) Runs(ctx context.Context) ([]string, error) {
	var out []string
	for i, err := range h.Journal.Chains(ctx, journal.KindRun) {
		if err != nil {
			return nil, err
		}
		out = append(out, i.Run)
	}
	return out, nil
}

// UnknownRunError says that a name stands for no run, or for several.
type UnknownRunError struct {
	Name    string
	Matches []string // of several
	Known   []string
}

func (u *UnknownRunError) Error() string {
	switch {
	case len(u.Matches) > 1:
		return fmt.Sprintf("%q could be %s; give more of its name", u.Name, strings.Join(u.Matches, " or "))
	case len(u.Known) == 0:
		return "there are no runs here yet; `ratchet run STUDY.yaml` starts one, and --home names another home"
	case u.Name == "":
		return fmt.Sprintf("which run? There are %d: name one, or write latest", len(u.Known))
	}
	return fmt.Sprintf("there is no run %q here; `ratchet list` shows them all", u.Name)
}

// Find resolves a name of a run: the whole of it, a prefix that only one run
// has, "latest" for the one with the newest record, or "" if only one run
// fits. prefer says which runs "" may mean; nil: any.
func (h *Home) Find(ctx context.Context, name string, prefer func(run string) bool) (string, error) {
	if name == "latest" {
		return h.latest(ctx)
	}
	runs, err := h.Runs(ctx)
	if err != nil {
		return "", err
	}
	var matches []string
	switch name {
	case "":
		matches = slices.Clone(runs)
		if len(runs) > 1 && prefer != nil {
			matches = slices.DeleteFunc(matches, func(r string) bool { return !prefer(r) })
		}
	default:
		for _, r := range runs {
			if r == name {
				return r, nil
			}
			if strings.HasPrefix(r, name) {
				matches = append(matches, r)
			}
		}
	}
	if len(matches) == 1 {
		return matches[0], nil
	}
	if name == "" {
		return "", &UnknownRunError{Name: name, Known: runs}
	}
	return "", &UnknownRunError{Name: name, Matches: matches, Known: runs}
}

func (h *Home) latest(ctx context.Context) (string, error) {
	latest, err := h.Journal.Latest(ctx, journal.KindRun)
	if err == nil && latest.Seq == 0 {
		err = &UnknownRunError{}
	}
	return latest.Run, err
}

// NewName makes a run's id: the study's name, the day, and four hexadecimal
// digits that no other run has.
func (h *Home) NewName(ctx context.Context, study string) (string, error) {
	day := h.Now().Format("20060102")
	for range 1000 {
		var b [2]byte
		if _, err := rand.Read(b[:]); err != nil {
			return "", err
		}
		run := fmt.Sprintf("%s-%s-%s", study, day, hex.EncodeToString(b[:]))
		head, err := h.Journal.Head(ctx, journal.Of(run))
		if err != nil {
			return "", err
		}
		if head.Seq == 0 {
			return run, nil
		}
	}
	return "", errors.New("this home has too many runs of that name today; use another home")
}

// MakeReportFolder makes the folder of a run's report, long before there is
// one, and refuses a folder that holds another run's results.
func MakeReportFolder(dir, run string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the output folder: %w", err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "results.json"))
	if err != nil {
		return nil
	}
	var other struct{ Run string }
	if json.Unmarshal(b, &other) != nil || other.Run != run {
		return fmt.Errorf("the output folder %s holds the results of run %q; choose another or move them away", dir, other.Run)
	}
	return nil
}

// LostRuns are the runs that have a folder with work in it, and are not among
// those that the journal has.
func LostRuns(folder string, known []string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(folder, "runs"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []string
	for _, entry := range entries {
		if !slices.Contains(known, entry.Name()) && HasWorked(filepath.Join(folder, "runs", entry.Name())) {
			out = append(out, entry.Name())
		}
	}
	return out, err
}

// HasWorked reports whether a run's folder is of a run that had attempts.
func HasWorked(folder string) bool {
	return exists(filepath.Join(folder, attemptsFolder)) || exists(filepath.Join(folder, checkpointsFolder))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
