package view

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"ratchet/internal/engine"
	"ratchet/internal/environment"
	"ratchet/internal/gateway"
	"ratchet/internal/objects"
	"ratchet/internal/research"
	"ratchet/internal/sandbox"
	"ratchet/internal/untrusted"
	"ratchet/study"
)

// Exposure is what stands open to the programs of a run beyond what is open to
// every program.
type Exposure struct {
	// Open says in one line what they can reach that they cannot by default; "":
	// nothing.
	Open string
	// Outside is what they see from outside the study's folder.
	Outside []environment.Outside
	// Changed is the study's file, if it is another now than the run was made of; "":
	// it is not, or cannot be told. The run keeps its own.
	Changed string
}

// ExposureOf is what stands open to the programs of a run.
func ExposureOf(ctx context.Context, e *engine.Engine, run string) (Exposure, error) {
	s, _, err := e.Load(ctx, run)
	if err != nil {
		return Exposure{}, err
	}
	outside := e.Outside(s)
	return Exposure{open(s.Created.Study, sandbox.Isolation(s.Created.Isolation), outside), outside, changed(s)}, nil
}

// changed finds the file of a run's study in its folder by the study's name, unless one
// is there as the run was made of it.
func changed(s *research.State) (name string) {
	if s.Origin != nil {
		return "" // of a fork the study is its own
	}
	folder, err := untrusted.Open(s.Created.Folder)
	if err != nil {
		return ""
	}
	defer folder.Close()
	named := regexp.MustCompile(`(?m)^name:\s*["']?` + regexp.QuoteMeta(s.Created.Study.Name) + `["']?\s*(#.*)?$`)
	_ = folder.Walk(func(e *untrusted.Entry, err error) error {
		if err != nil || e.Info.Mode.IsDir() && e.Path != "." {
			return fs.SkipDir
		}
		if ext := path.Ext(e.Path); !e.Info.Mode.IsRegular() || e.Info.Size > study.MaxSize || ext != ".yaml" && ext != ".yml" {
			return nil
		}
		f, _, err := e.Open()
		if err != nil {
			return nil
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, study.MaxSize))
		switch {
		case err != nil:
		case string(objects.DigestOf(b)) == s.Created.StudyFile:
			name = ""
			return fs.SkipAll
		case named.Match(b):
			name = e.Path
		}
		return nil
	})
	return name
}

// ExposureOfStudy is what will stand open to the programs of a study in a folder,
// with all walls.
func ExposureOfStudy(st *study.Study, folder string) Exposure {
	outside := environment.OutsideOf(st, folder)
	return Exposure{Open: open(st, sandbox.Strict, outside), Outside: outside}
}

func open(st *study.Study, isolation sandbox.Isolation, outside []environment.Outside) string {
	switch {
	case isolation != sandbox.Strict && st.Evaluation != nil:
		return fmt.Sprintf("no walls (isolation %s): its programs can read and change all that you can, what they are measured by included", isolation)
	case isolation != sandbox.Strict:
		return fmt.Sprintf("no walls (isolation %s): its programs can read and change all that you can", isolation)
	case st.Limits.Attempt.Network == study.NetworkHost && len(outside) > 0:
		return "its programs have the machine's network, and see files from outside the study's folder, which they can send anywhere"
	case st.Limits.Attempt.Network == study.NetworkHost:
		return "its programs have the machine's network"
	case st.Tools == nil:
		return ""
	}
	var private []string
	for _, host := range st.Tools.Hosts {
		if gateway.NamesPrivate(host) {
			private = append(private, research.Printable(host, 100))
		}
	}
	if len(private) > 0 {
		return "its programs can reach " + strings.Join(private, ", ") + ", which is this machine or its network"
	}
	return ""
}
