package environment

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ratchet/internal/research"
	"ratchet/study"
)

// Outside is something outside the study's folder that its programs see, or
// something in it that has keys.
type Outside struct {
	Name string `json:"name"` // by which the study has it: an input, or environment
	Path string `json:"path"` // links resolved
	Keys string `json:"keys"` // why keys are to be expected there; "": they are not
}

// keyPlaces are where programs keep keys and passwords, below a user's home.
var keyPlaces = []string{
	".ssh", ".gnupg", ".aws", ".azure", ".config/gcloud", ".kube", ".docker", ".netrc", ".git-credentials", ".config/gh", ".pypirc", ".npmrc",
	".pgpass", ".password-store", ".local/share/keyrings", ".config/ratchet", ".cache/huggingface/token", ".kaggle", ".oci", ".cargo/credentials.toml",
	".mozilla", ".config/google-chrome", ".config/chromium", ".bash_history", ".zsh_history",
}

// keyFiles are names of files that have keys wherever they are.
var keyFiles = []string{".env", ".netrc", ".git-credentials", ".pgpass", "id_rsa", "id_ed25519", "id_ecdsa"}

// OutsideOf lists what a study shows its programs of the machine besides what is
// in its own folder and what every program sees. dir is the study's folder.
func OutsideOf(st *study.Study, dir string) []Outside { return OutsideOwn(st, dir, dir) }

// OutsideOwn is OutsideOf where the folder that the study's paths are relative to
// and the one that it may show are not the same; own may be "".
func OutsideOwn(st *study.Study, dir, own string) []Outside {
	var out []Outside
	if own != "" {
		if resolved, err := filepath.EvalSymlinks(own); err == nil {
			own = resolved
		}
		if resolved, err := filepath.Abs(own); err == nil {
			own = resolved
		}
	}
	add := func(name, path string) {
		resolved, err := filepath.EvalSymlinks(path)
		if err != nil {
			resolved = path // gone: starting says so
		}
		if resolved, err = filepath.Abs(resolved); err != nil {
			return
		}
		if keys := keysIn(resolved); keys != "" || own == "" || !within(resolved, own) {
			out = append(out, Outside{name, resolved, keys})
		}
	}
	for _, in := range st.AllInputs() {
		add("input "+in.Path, in.Locate(dir))
	}
	if p := st.Program.Environment; p != "" {
		at := study.Resolve(dir, p)
		add("environment", at)
		for _, e := range editables(at) {
			add(fmt.Sprintf("%s, an editable install in the environment", research.Printable(e.Name, 100)), e.Folder)
		}
	}
	return out
}

func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// keysIn says why there are keys at a path, or below it.
func keysIn(path string) string {
	if base := filepath.Base(path); slices.Contains(keyFiles, base) {
		return fmt.Sprintf("files named %s have keys", base)
	}
	for _, name := range keyFiles {
		if _, err := os.Lstat(filepath.Join(path, name)); err == nil {
			return "it has " + name
		}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	if home, err = filepath.EvalSymlinks(home); err != nil {
		return ""
	}
	if within(home, path) {
		return "your home is in it"
	}
	for _, place := range keyPlaces {
		place = filepath.Join(home, place)
		if within(path, place) {
			return "keys are kept there"
		}
		if _, err := os.Lstat(place); err == nil && within(place, path) {
			return "it has " + place
		}
	}
	return ""
}

// KeysError says that a study shows its programs a place of keys.
type KeysError struct{ Outside }

func (k *KeysError) Error() string {
	return fmt.Sprintf("the study gives its programs %s (%s): %s; if they are to have it, add --allow-input %s", k.Path, k.Name, k.Keys, k.Path)
}

// CheckAllowed refuses a study that shows places of keys that were not allowed.
func CheckAllowed(st *study.Study, dir string, allow []string) error {
	for _, o := range OutsideOf(st, dir) {
		if o.Keys != "" && !Allows(allow, o.Path) {
			return &KeysError{o}
		}
	}
	return nil
}

// Allows reports whether a path is among those that were allowed.
func Allows(allow []string, path string) bool {
	return slices.ContainsFunc(allow, func(a string) bool {
		resolved, err := filepath.EvalSymlinks(study.Resolve("", a))
		if err == nil {
			resolved, err = filepath.Abs(resolved)
		}
		return err == nil && resolved == path
	})
}
