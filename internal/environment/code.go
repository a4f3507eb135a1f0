package environment

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"ratchet/internal/redact"
	"ratchet/internal/research"
	"ratchet/internal/sandbox"
	"ratchet/internal/shim"
	"ratchet/study"
)

const (
	mostDiff = 256 << 10
	gitTime  = 20 * time.Second
)

// gitQuestions asks for all of it, with a zero byte behind each answer. What a
// repository's own settings would have git execute is executed within walls, and most
// of it not at all.
const gitQuestions = `cd "$1" || exit 1
g() { git -c safe.directory='*' -c core.fsmonitor=false -c core.hooksPath=/dev/null -c core.pager=cat --no-optional-locks "$@" 2>/dev/null; }
g rev-parse HEAD || exit 2; printf '\0'
g symbolic-ref -q --short HEAD; printf '\0'
g config --get remote.origin.url; printf '\0'
g status --porcelain -- . ':(exclude).ratchet' ':(exclude)results'; printf '\0'
g diff --no-ext-diff --no-textconv --no-color HEAD -- . | head -c "$2"
exit 0`

// codeOf is where a study's folder and those of its inputs came from.
func codeOf(ctx context.Context, c *research.RunCreated, secrets *redact.Redactor) []research.Code {
	folders := [][2]string{{".", c.Folder}}
	for _, in := range c.Study.AllInputs() {
		if info, err := os.Stat(in.Locate(c.Folder)); err == nil && info.IsDir() {
			folders = append(folders, [2]string{in.Path, in.Locate(c.Folder)})
		}
	}
	out := []research.Code{}
	for _, f := range folders {
		root, ok := repository(f[1])
		if !ok {
			continue
		}
		code := research.Code{Folder: f[0]}
		if _, err := exec.LookPath("git"); err != nil {
			code.Unknown = "this machine has no git"
		} else {
			ask(ctx, &code, sandbox.Isolation(c.Isolation), root, f[1], secrets)
		}
		out = append(out, code)
	}
	return out
}

// repository is the folder at or above another that has a repository.
func repository(dir string) (root string, ok bool) {
	for {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir, true
		}
		if dir == filepath.Dir(dir) {
			return "", false
		}
		dir = filepath.Dir(dir)
	}
}

// ask asks git about a folder of a repository.
func ask(ctx context.Context, c *research.Code, isolation sandbox.Isolation, root, folder string, secrets *redact.Redactor) {
	below, err := filepath.Rel(root, folder)
	if err != nil {
		c.Unknown = err.Error()
		return
	}
	at := filepath.Join("repository", below)
	spec := &sandbox.Spec{
		Command: []string{"sh", "-c", gitQuestions, "sh", at, "262145"}, Isolation: isolation,
		Env: []string{"PATH=" + standardPath, "HOME=/tmp", "LANG=C.UTF-8", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0"},
		Limits: study.AttemptLimits{
			Time: study.Duration(gitTime), Memory: 1 << 30, CPUs: 1, Disk: 16 << 20, Output: 8 << 20, Processes: 64, Network: study.NetworkNone,
		},
		Inputs: []sandbox.Bind{{Source: root, Target: "repository"}},
	}
	out, err := shim.Ask(ctx, spec, func(string) error { return nil })
	if err != nil {
		c.Unknown = "git did not say: " + research.Printable(err.Error(), 200)
		return
	}
	read(c, string(out), secrets)
}

// read reads the answers to gitQuestions.
func read(c *research.Code, out string, secrets *redact.Redactor) {
	answers := strings.SplitN(out, "\x00", 5)
	if len(answers) < 5 {
		c.Unknown = "there is no commit yet"
		return
	}
	word := func(s string) string { return research.Printable(strings.TrimSpace(s), 500) }
	c.Commit, c.Branch, c.Remote = word(answers[0]), word(answers[1]), withoutCredentials(word(answers[2]))
	for line := range strings.Lines(answers[3]) {
		if strings.HasPrefix(line, "??") {
			c.Untracked++
		} else {
			c.Dirty = true
		}
	}
	diff := answers[4]
	if c.Cut = len(diff) > mostDiff; c.Cut {
		diff = diff[:mostDiff]
	}
	c.Diff = secrets.Text(strings.ToValidUTF8(diff, "\uFFFD"))
}

// withoutCredentials is a remote's address without what stands before its @, but for
// the user name of SSH.
func withoutCredentials(remote string) string {
	u, err := url.Parse(remote)
	if err != nil || u.User == nil {
		return remote
	}
	if u.User = nil; u.Scheme == "ssh" {
		u.User = url.User("git")
	}
	u.RawQuery, u.Fragment = "", ""
	return u.String()
}
