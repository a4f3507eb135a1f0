package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"ratchet/internal/research"
	"ratchet/internal/untrusted"
)

// A home that is found at or above the working folder may have come with the
// folder, from a stranger: its settings can have commands in them, and its
// journal runs that would go on without walls. It is believed if this user has
// made it, or has accepted it; a file in the user's own configuration folder
// says of which homes that is so. A home that is named is one that the user
// means.

// homesFile is the file with the homes that are believed: one a line, its
// owner's number in front of its path.
func homesFile() (string, error) {
	dir, err := os.UserConfigDir()
	return filepath.Join(dir, "ratchet", "homes"), err
}

// markOf is a home's line in that file.
func markOf(home string) (string, error) {
	path, err := filepath.EvalSymlinks(home)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "", err
	}
	owner, err := ownerOf(path)
	return strconv.Itoa(owner) + " " + strconv.Quote(path), err
}

// ownerOf is the number of the user who owns a folder; -1 where there are none.
func ownerOf(path string) (int, error) {
	info, err := os.Stat(path)
	if err != nil {
		return -1, err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid), nil
	}
	return -1, nil
}

// believed reports whether this user has made a home, or accepted it.
func believed(home string) bool {
	mark, err := markOf(home)
	if err != nil {
		return false
	}
	file, err := homesFile()
	if err != nil {
		return false
	}
	b, err := os.ReadFile(file)
	return err == nil && slices.Contains(strings.Split(string(b), "\n"), mark)
}

// believe notes that a home is believed from now on.
func believe(home string) error {
	if believed(home) {
		return nil
	}
	mark, err := markOf(home)
	if err != nil {
		return err
	}
	file, err := homesFile()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(mark + "\n")
	return errors.Join(err, f.Close())
}

// strangersHome is a home that was found and that its user has not accepted; nil: the
// home is the user's own, or there is nothing in it to be believed.
func (a *app) strangersHome() (*untrustedHome, error) {
	home, source, err := a.homeFolder()
	if err != nil || source != foundHome || believed(home) {
		return nil, err
	}
	u := &untrustedHome{home: home}
	folder, err := untrusted.Open(home)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	if _, err := folder.Lstat("config.yaml"); err == nil {
		u.settings = linesOf(folder, "config.yaml")
	}
	empty := true
	err = folder.Walk(func(*untrusted.Entry, error) error {
		empty = false
		return io.EOF
	})
	if empty {
		if u.owner, err = ownerOf(home); u.owner == os.Getuid() {
			return nil, err
		}
		u.empty = true
		return u, err
	}
	if !errors.Is(err, io.EOF) {
		return nil, err
	}
	return u, nil
}

// How much of a stranger's settings is shown.
const (
	mostSettings     = 40 // lines
	mostSettingsRead = 64 << 10
	mostSetting      = 200 // bytes of a line
)

// linesOf are the lines of a file, fit for a terminal.
func linesOf(folder *untrusted.Folder, name string) []string {
	f, _, err := folder.Follow(name)
	if err != nil {
		return []string{err.Error()}
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, mostSettingsRead))
	if err != nil {
		return []string{err.Error()}
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	for i, l := range lines {
		lines[i] = research.Printable(l, mostSetting)
	}
	if n := len(lines); n > mostSettings {
		lines = append(lines[:mostSettings], fmt.Sprintf("and %d lines more", n-mostSettings))
	}
	return lines
}

// untrustedHome is the error of a command that would believe a stranger's home.
type untrustedHome struct {
	home     string
	settings []string
	empty    bool
	owner    int // of an empty one: another user, by number
}

func (u *untrustedHome) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s was found here, and you have neither made nor accepted it", shorter(u.home))
	switch {
	case len(u.settings) > 0:
		fmt.Fprintf(&b, "; its settings are\n\n  %s\n\n", strings.Join(u.settings, "\n  "))
	case u.empty:
		fmt.Fprintf(&b, "; it belongs to user %d, who could change what you put into it. ", u.owner)
	default:
		b.WriteString("; what is in it would be done as it says. ")
	}
	fmt.Fprintf(&b, "If you trust whom it is from, `ratchet trust %s` accepts it; --home names another.", shorter(u.home))
	return b.String()
}

func (a *app) trustCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "trust [HOME]",
		Short: "Accept a home that came with a folder: its settings, and the runs in it",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			home, _, err := a.homeFolder()
			if len(args) > 0 {
				home, err = args[0], nil
			}
			if err != nil {
				return err
			}
			if info, err := os.Stat(home); err != nil {
				return usageError{err}
			} else if !info.IsDir() {
				return usageError{fmt.Errorf("%s is not a folder", home)}
			}
			if err := believe(home); err != nil {
				return fmt.Errorf("noting that %s is trusted: %w", home, err)
			}
			if a.json {
				a.printJSON(map[string]any{"home": home, "trusted": true})
				return nil
			}
			a.printf("%s is trusted from now on\n", shorter(home))
			return nil
		},
	}
}

// acting are the commands that do what a home's settings and journal say.
// Others show what is there, without its settings.
var acting = []string{"run", "wrap", "resume", "report", "rollback", "fork", "gc", "backup", "checkpoint", "pause", "cancel", "silence"}

// acts reports whether a command is one of them, or belongs to one.
func acts(c *cobra.Command) bool {
	for at := c; at != nil; at = at.Parent() {
		if slices.Contains(acting, at.Name()) {
			return true
		}
	}
	repair := c.Flags().Lookup("repair")
	return repair != nil && repair.Changed
}

// own makes a home that is used by this user alone theirs, and keeps others out
// of it.
func (a *app) own(home string, made, private bool) {
	if made {
		if err := believe(home); err != nil {
			a.log.Warn(fmt.Sprintf("%s cannot be noted as yours, and a later command will ask whether you trust it unless --home names it: %v", home, err))
		}
	}
	info, err := os.Stat(home)
	if err != nil || !private || info.Mode().Perm()&0o077 == 0 {
		return
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) == os.Getuid() {
		if err := os.Chmod(home, 0o700); err != nil && !errors.Is(err, fs.ErrPermission) {
			a.log.Warn(err.Error())
		}
	}
}
