package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"image"
	_ "image/gif"  // formats that are shown
	_ "image/jpeg" // formats that are shown
	_ "image/png"  // formats that are shown
	"io"
	"path"
	"slices"
	"strings"
	"unicode"

	"ratchet/internal/objects"
	"ratchet/internal/research"
	"ratchet/internal/untrusted"
)

// What programs left, under its own names, and its pictures on the page.

const (
	mostArtifacts = 5_000   // files that get their own names
	mostPictures  = 24      // that the page shows
	mostPicture   = 1 << 20 // bytes of one
	mostShown     = 8 << 20 // bytes of all
	mostSide      = 8_000   // pixels
)

// artifact is a file that a trial left.
type artifact struct {
	Trial string
	Name  string // as the program named it
	Link  string // below the report's folder
	Size  int64
}

// picture is an artifact that the page shows.
type picture struct {
	artifact
	Data template.URL
}

// artifacts gives what programs left their own names in the folder artifacts, a folder
// for each attempt, and returns it; more says that there is more than has a name. The best
// experiment's come first.
func (w *writer) artifacts(r *Results, store Store) (out []artifact, more bool) {
	experiments := slices.Clone(r.Experiments)
	slices.SortStableFunc(experiments, func(a, b Experiment) int {
		best := ""
		if r.Best != nil {
			best = r.Best.Experiment
		}
		switch {
		case a.ID == b.ID:
			return 0
		case a.ID == best:
			return -1
		case b.ID == best:
			return 1
		}
		return 0
	})
	for _, x := range experiments {
		for _, t := range x.Trials {
			if t.Evidence == "" || w.err != nil {
				continue
			}
			tree, err := store.Tree(objects.Digest(t.Evidence))
			if err != nil {
				w.fail(err)
				return out, more
			}
			var names untrusted.Names
			for _, f := range tree {
				name, plain, ok := artifactName(f.Path)
				if !ok || f.Size > mostEvidence || !names.Add(plain) {
					continue
				}
				if len(out) == mostArtifacts {
					return out, true
				}
				link := path.Join(artifactFolder(t), plain)
				w.link("evidence/"+string(f.Digest), link)
				out = append(out, artifact{t.ID, research.Printable(name, 200), link, f.Size})
			}
		}
	}
	return out, more
}

// artifactName is the name of what a program left in its output folder, or of its
// working folder, and a plain one for the report's, below output or work. false: it is
// neither.
func artifactName(at string) (name, plain string, ok bool) {
	for _, folder := range []string{research.OutputFiles, research.WorkFiles} {
		if name, ok = strings.CutPrefix(at, folder); ok && name != "" {
			parts := strings.Split(name, "/")
			for i, p := range parts {
				parts[i] = plainName(p)
			}
			return name, folder + strings.Join(parts, "/"), true
		}
	}
	return "", "", false
}

// artifactFolder is where the files of a trial's last attempt lie, below the report's
// folder.
func artifactFolder(t Trial) string {
	return path.Join("artifacts", untrusted.Name(research.AttemptID(t.ID, t.Attempts)))
}

// plainName is a file's name of letters, digits, dots, hyphens and underscores. One that
// had others has a part of a digest in it, so that no two become one; its ending stays.
func plainName(name string) string {
	plain := strings.Map(func(c rune) rune {
		if c < 128 && (unicode.IsLetter(c) || unicode.IsDigit(c)) || strings.ContainsRune("._-", c) {
			return c
		}
		return '_'
	}, name)
	if plain == name && len(plain) <= 100 && !strings.HasPrefix(plain, ".") && !strings.HasPrefix(plain, "-") {
		return plain
	}
	sum := sha256.Sum256([]byte(name))
	ending := path.Ext(plain)
	if len(ending) > 10 {
		ending = ""
	}
	base := strings.TrimLeft(strings.TrimSuffix(plain, ending), ".-")
	return fmt.Sprintf("%s-%s%s", base[:min(len(base), 60)], hex.EncodeToString(sum[:4]), ending)
}

// pictures are those artifacts that the page shows: small ones, of formats without
// scripts, which are what their names say.
func (w *writer) pictures(all []artifact, r *Results, store Store) (out []picture) {
	shown := int64(0)
	digests := map[string]objects.Digest{}
	for _, x := range r.Experiments {
		for _, t := range x.Trials {
			if t.Evidence == "" || w.err != nil {
				continue
			}
			tree, err := store.Tree(objects.Digest(t.Evidence))
			if err != nil {
				w.fail(err)
				return nil
			}
			for _, f := range tree {
				if _, plain, ok := artifactName(f.Path); ok {
					digests[path.Join(artifactFolder(t), plain)] = f.Digest
				}
			}
		}
	}
	for _, a := range all {
		kind := map[string]string{".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".gif": "gif"}[strings.ToLower(path.Ext(a.Name))]
		if kind == "" || a.Size > mostPicture || shown+a.Size > mostShown || len(out) == mostPictures {
			continue
		}
		o, err := store.Open(digests[a.Link])
		if err != nil {
			w.fail(err)
			return nil
		}
		b, err := io.ReadAll(io.LimitReader(o, mostPicture))
		_ = o.Close() // only read from
		if err != nil {
			w.fail(err)
			return nil
		}
		size, is, err := image.DecodeConfig(bytes.NewReader(b))
		if err != nil || is != kind || size.Width > mostSide || size.Height > mostSide {
			continue
		}
		shown += a.Size
		out = append(out, picture{a, template.URL(fmt.Sprintf("data:image/%s;base64,%s", kind, base64.StdEncoding.EncodeToString(b)))})
	}
	return out
}
