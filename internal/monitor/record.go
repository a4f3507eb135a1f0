package monitor

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// SampleLog keeps samples in a folder of their own: the last ones as they are,
// and of all a line a minute. Losing it loses nothing of a run.
//
// recent.jsonl and history.jsonl have a JSON document a line. When one is
// full, it takes the place of its .old, so that at most two of each are there.
type SampleLog struct {
	recent  segment
	history segment
	minute  []Sample
}

const (
	recentLines  = 600         // each sample: 10 minutes at one a second
	historyLines = 7 * 24 * 60 // a line a minute: a week
)

// NewRecord keeps samples in a folder, which it makes.
func NewRecord(dir string) (*SampleLog, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keeping samples: %w", err)
	}
	return &SampleLog{
		recent:  segment{path: filepath.Join(dir, "recent.jsonl"), most: recentLines},
		history: segment{path: filepath.Join(dir, "history.jsonl"), most: historyLines},
	}, nil
}

// Add keeps a sample.
func (r *SampleLog) Add(s Sample) error {
	if len(r.minute) > 0 && s.Time.Truncate(time.Minute) != r.minute[0].Time.Truncate(time.Minute) {
		if err := r.history.add(summarise(r.minute)); err != nil {
			return err
		}
		r.minute = r.minute[:0]
	}
	r.minute = append(r.minute, s)
	return r.recent.add(s)
}

// Close keeps what is left of the last minute.
func (r *SampleLog) Close() error {
	var err error
	if len(r.minute) > 0 {
		err = r.history.add(summarise(r.minute))
	}
	return errors.Join(err, r.recent.close(), r.history.close())
}

// Recent are the last samples in a folder, the oldest first. A line that is
// not whole, as after a crash, is left out.
func Recent(dir string) []Sample { return readAll[Sample](filepath.Join(dir, "recent.jsonl")) }

// History are the minutes in a folder, the oldest first.
func History(dir string) []Minute { return readAll[Minute](filepath.Join(dir, "history.jsonl")) }

// Minute is what was used in a minute.
type Minute struct {
	Time     time.Time        `json:"time"`
	Samples  int              `json:"samples"`
	CPU      Range            `json:"cpu"`
	Memory   Range            `json:"memory"` // share
	DiskFree map[string]int64 `json:"disk_free"`
	IO       Range            `json:"io_pressure"`
	GPU      map[int]Range    `json:"gpu,omitempty"` // use, by device
	Attempts int              `json:"attempts"`      // at most
	Engine   int64            `json:"engine_bytes"`  // resident, at most
}

// Range are the least, the mean and the most of some values.
type Range struct {
	Min  float64 `json:"min"`
	Mean float64 `json:"mean"`
	Max  float64 `json:"max"`
	n    int
}

func (r *Range) add(v float64) {
	if r.n == 0 {
		r.Min, r.Max = v, v
	}
	r.n++
	r.Min, r.Max = min(r.Min, v), max(r.Max, v)
	r.Mean += (v - r.Mean) / float64(r.n)
}

// summarise makes a minute of its samples.
func summarise(samples []Sample) Minute {
	m := Minute{Time: samples[0].Time.Truncate(time.Minute), Samples: len(samples), DiskFree: map[string]int64{}}
	gpus := map[int]*Range{}
	for _, s := range samples {
		if s.CPU != nil {
			m.CPU.add(*s.CPU)
		}
		if s.Memory != nil {
			m.Memory.add(s.Memory.Share())
		}
		for _, d := range s.Disks {
			m.DiskFree[d.What] = d.Free
		}
		if s.Pressure != nil {
			m.IO.add(s.Pressure.IO)
		}
		for _, g := range s.GPUs {
			if g.Use != nil {
				if gpus[g.Index] == nil {
					gpus[g.Index] = &Range{}
				}
				gpus[g.Index].add(*g.Use)
			}
		}
		m.Attempts = max(m.Attempts, len(s.Attempts))
		if s.Engine.Memory != nil {
			m.Engine = max(m.Engine, *s.Engine.Memory)
		}
	}
	for i, r := range gpus {
		if m.GPU == nil {
			m.GPU = map[int]Range{}
		}
		m.GPU[i] = *r
	}
	return m
}

// segment is a file of lines that gives way to another when it is full.
type segment struct {
	path  string
	most  int
	lines int
	file  *os.File
}

func (s *segment) add(v any) error {
	if s.file == nil {
		f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		s.file, s.lines = f, 0
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, mostLine)
		for lines.Scan() {
			s.lines++
		}
		if s.lines > 0 { // the last may not be whole
			if _, err := f.Write([]byte("\n")); err != nil {
				return err
			}
		}
	}
	if s.lines >= s.most {
		if err := errors.Join(s.close(), os.Rename(s.path, s.path+".old")); err != nil {
			return err
		}
		return s.add(v)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	s.lines++
	_, err = s.file.Write(append(b, '\n'))
	return err
}

func (s *segment) close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}

// mostLine bounds a line, in bytes.
const mostLine = 4 << 20

func readAll[T any](path string) []T {
	var out []T
	for _, p := range []string{path + ".old", path} {
		f, err := os.Open(p)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				return out
			}
			continue
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, mostLine)
		for lines.Scan() {
			var v T
			if json.Unmarshal(lines.Bytes(), &v) == nil {
				out = append(out, v)
			}
		}
		_ = f.Close()
	}
	return out
}
