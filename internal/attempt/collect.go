package attempt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"ratchet/internal/executor"
	"ratchet/internal/metrics"
	"ratchet/internal/objects"
	"ratchet/internal/research"
	"ratchet/internal/sandbox"
	"ratchet/internal/shim"
	"ratchet/internal/untrusted"
)

// Bounds on what is read of what a job left.
const (
	mostMetricsFile = 256 << 20 // bytes read of the metrics file
	mostJSON        = 16 << 20  // bytes read of metrics.json and the like
	lastWords       = 16 << 10  // bytes of an output that tell a failure's class
)

// Collect makes the job's outcome of how its shim says that it ended and of what
// it left, and stores what is kept. It can be done again: the same files give the
// same outcome.
func (a *Attempt) Collect(ctx context.Context, end shim.Ending) (executor.Outcome, error) {
	out := executor.Outcome{Ending: end, Host: host()}
	box, err := openBox(sandbox.Box(a.Folder))
	if err != nil {
		return out, err
	}
	defer box.Close()
	files, notes, err := a.store(box)
	if err != nil {
		return out, err
	}
	if a.Job.Keep == executor.KeepWork {
		if out.Work, err = a.keepWork(box); err != nil {
			return out, err
		}
	}
	var unread []string
	if out.Series, unread, err = a.series(context.WithoutCancel(ctx), end, box); err != nil {
		return out, err
	}
	for _, n := range slices.Concat(notes, unread) {
		out.Notes = append(out.Notes, a.Secrets.Text(n))
	}
	out.LastOut, out.LastErr = a.Secrets.Text(lastOf(shim.Stdout(a.Folder))), a.Secrets.Text(lastOf(shim.Stderr(a.Folder)))
	digest, err := a.Store.PutTree(files)
	out.Evidence = string(digest)
	return out, err
}

// CollectLost makes the outcome of a job that is gone without an ending, with its
// supervisor: what it printed and reported until then is kept, and what it used as
// that was published last. None of it is a result.
func (a *Attempt) CollectLost(ctx context.Context) (executor.Outcome, error) {
	out := executor.Outcome{Lost: true, Host: host(), Series: metrics.NewSeries()}
	if u, ok := shim.Using(a.Folder); ok {
		out.Started, out.Ended = u.Time.Add(-time.Duration(u.Wall*float64(time.Second))), u.Time
		out.Wall, out.CPU, out.Memory, out.Disk, out.Read, out.Written = u.Wall, u.CPU, u.Peak, u.Disk, u.Read, u.Written
	}
	box, err := openBox(sandbox.Box(a.Folder))
	if err != nil {
		return out, err
	}
	defer box.Close()
	files, err := a.keepTexts(box)
	if err != nil || len(files) == 0 {
		return out, err
	}
	if out.Series, _, err = a.series(context.WithoutCancel(ctx), shim.Ending{MetricsSize: mostMetricsFile, Exit: -1}, box); err != nil {
		return out, err
	}
	out.LastOut, out.LastErr = a.Secrets.Text(lastOf(shim.Stdout(a.Folder))), a.Secrets.Text(lastOf(shim.Stderr(a.Folder)))
	digest, err := a.Store.PutTree(files)
	out.Evidence = string(digest)
	return out, err
}

func host() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}

// keepWork stores the regular files of the working folder, without what inputs
// were mounted on.
func (a *Attempt) keepWork(box *untrusted.Folder) (string, error) {
	k := keeper{put: a.put}
	if err := k.store(box, sandbox.WorkFolder, "."); err != nil {
		return "", err
	}
	files := slices.DeleteFunc(k.files, func(f objects.File) bool { return a.isInput(f.Path) })
	digest, err := a.Store.PutTree(files)
	return string(digest), err
}

// isInput reports whether a path of the working folder is an input's.
func (a *Attempt) isInput(name string) bool {
	return slices.ContainsFunc(a.Job.Inputs, func(in sandbox.Bind) bool {
		return name == path.Clean(in.Target) || strings.HasPrefix(name, path.Clean(in.Target)+"/")
	})
}

// lastOf is the end of a file; "" where it cannot be read.
func lastOf(path string) string {
	f, info, err := own(path)()
	if err != nil {
		return "" // it ended before it had output
	}
	defer f.Close()
	if info.Size > lastWords {
		if _, err := f.Seek(-lastWords, io.SeekEnd); err != nil {
			return ""
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, lastWords))
	if err != nil {
		return ""
	}
	return string(b)
}

// series reads all that the program reported: the metrics file up to
// where it stood at the program's end, metrics.json in the output folder, and
// what the job extracts. unread says what could not be extracted, and why.
func (a *Attempt) series(ctx context.Context, end shim.Ending, box *untrusted.Folder) (s *metrics.Series, unread []string, err error) {
	s = metrics.NewSeries()
	if f, _, err := box.Open(sandbox.MetricsFile); err == nil {
		buf := make([]byte, 64<<10)
		r := io.LimitReader(f, min(end.MetricsSize, mostMetricsFile))
		for {
			n, err := r.Read(buf)
			s.Write(buf[:n])
			if err == io.EOF {
				break
			}
			if err != nil {
				return nil, nil, errors.Join(fmt.Errorf("reading metrics: %w", err), f.Close())
			}
		}
		s.Close()
		if err := f.Close(); err != nil {
			return nil, nil, err
		}
	}
	for name, v := range metrics.Leaves(readJSON(box, path.Join(sandbox.OutputFolder, "metrics.json"))) {
		line, err := json.Marshal(map[string]any{name: v})
		if err != nil {
			return nil, nil, err
		}
		s.Write(append(line, '\n'))
	}
	well := end.Exit == 0 && end.EndedBy == shim.ByItself
	for _, name := range slices.Sorted(maps.Keys(a.Job.Metrics)) {
		x := a.Job.Metrics[name]
		if x.File != "" {
			if !readKey(s, name, path.Join(sandbox.WorkFolder, x.File), x.Key, box) && well {
				unread = append(unread, fmt.Sprintf("metrics.%s: the file %s has nothing at %s", name, x.File, x.Key))
			}
			continue
		}
		if x.Stdout == "" {
			continue
		}
		v, found, err := shim.LastMatch(ctx, a.Job.Isolation, a.Job.Limits.Time, x.Stdout, shim.Stdout(a.Folder))
		if err != nil {
			unread = append(unread, fmt.Sprintf("%s could not be read: %v", name, err))
		}
		if found {
			s.Add(name, research.Point{Step: -1, Value: v})
		} else if err == nil && well {
			unread = append(unread, fmt.Sprintf("metrics.%s: its pattern has matched no line of the output", name))
		}
	}
	return s, unread, nil
}

func readJSON(box *untrusted.Folder, name string) any {
	f, _, err := box.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	var v any
	if json.NewDecoder(io.LimitReader(f, mostJSON)).Decode(&v) != nil {
		return nil
	}
	return v
}

// readKey reads a metric from a JSON file of a program that is not to be touched.
// key has names separated by dots. It reports whether there is something.
func readKey(s *metrics.Series, metric, file, key string, box *untrusted.Folder) bool {
	v := readJSON(box, file)
	for name := range strings.SplitSeq(key, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return false
		}
		if v, ok = m[name]; !ok {
			return false
		}
	}
	if f, ok := v.(float64); ok {
		s.Add(metric, research.Point{Step: -1, Value: f})
	} else {
		s.Odd(metric, v)
	}
	return true
}
