package executortest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"ratchet/internal/executor"
	"ratchet/internal/metrics"
	"ratchet/internal/objects"
	"ratchet/internal/processes"
	"ratchet/internal/research"
	"ratchet/internal/sandbox"
	"ratchet/internal/shim"
)

// Memory executes jobs in memory: the twin of those that execute them somewhere. A
// job does what Play says.
type Memory struct {
	Store *objects.Store
	// Play says how a job ends and what it reports. It is called once for each
	// execution.
	Play func(job executor.Job) Played
	// Faults go wrong on the way.
	Faults Faults

	mu   sync.Mutex
	jobs map[string]*played
	runs map[string]int
}

// Played is how a job ends.
type Played struct {
	Exit   int
	Score  float64 // it reports if it exits with 0
	Prints string
	Waits  bool          // until it is stopped
	Takes  time.Duration // else
}

// Faults say, by a job and how often it was asked, what goes wrong.
type Faults struct {
	Duplicate func(id string) bool          // the start is carried out twice
	Refuse    func(id string, n int) error  // starting fails, the n-th time, from 0
	Lose      func(id string) bool          // the node is lost, and the job with it
	Hang      func(id string) bool          // it never ends by itself
	Late      func(id string) time.Duration // so much later its end is told
}

// played is a job that was started.
type played struct {
	out   executor.Outcome
	job   executor.Job
	ended chan struct{} // closed when it has ended
	stop  chan struct{} // closed when it is to end
	once  sync.Once
	lose  sync.Once
	gone  chan struct{} // closed when the node is lost
}

var _ executor.Executor = &Memory{}

func asked(f func(id string) bool, id string) bool { return f != nil && f(id) }

// Probe implements executor.Executor.
func (m *Memory) Probe(sandbox.Isolation) error { return nil }

// Admit implements executor.Executor.
func (m *Memory) Admit(_ context.Context, _ *executor.Job, r executor.Reservation) (func(), error) {
	if r.Stopping != nil && r.Stopping() {
		return func() {}, executor.ErrStopping
	}
	return func() {}, nil
}

// Started implements executor.Executor.
func (m *Memory) Started(_ context.Context, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.jobs[id] != nil, nil
}

// Executions is how often a job was executed.
func (m *Memory) Executions(id string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.runs[id]
}

// Start implements executor.Executor.
func (m *Memory) Start(ctx context.Context, job executor.Job) (executor.Handle, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	times := 1
	if asked(m.Faults.Duplicate, job.ID) {
		times = 2
	}
	var p *played
	for range times {
		var err error
		if p, err = m.begin(job); err != nil {
			return nil, err
		}
	}
	return &memoryHandle{m, p}, nil
}

// begin starts a job, or finds it.
func (m *Memory) begin(job executor.Job) (*played, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.jobs == nil {
		m.jobs, m.runs = map[string]*played{}, map[string]int{}
	}
	if p := m.jobs[job.ID]; p != nil {
		return p, nil
	}
	n := m.runs[job.ID]
	m.runs[job.ID]++
	if m.Faults.Refuse != nil {
		if err := m.Faults.Refuse(job.ID, n); err != nil {
			return nil, fmt.Errorf("starting %s: %w", job.ID, err)
		}
	}
	p := &played{job: job, ended: make(chan struct{}), stop: make(chan struct{}), gone: make(chan struct{})}
	m.jobs[job.ID] = p
	go m.play(p)
	return p, nil
}

func (m *Memory) play(p *played) {
	defer close(p.ended)
	how := m.Play(p.job)
	p.out = executor.Outcome{Host: "memory", Series: metrics.NewSeries()}
	p.out.Started = time.Now().UTC()
	if how.Waits || asked(m.Faults.Hang, p.job.ID) {
		how.Takes = time.Duration(p.job.Limits.Time)
	}
	end := time.NewTimer(how.Takes)
	defer end.Stop()
	lost := executor.Outcome{Lost: true, Host: "memory", Series: metrics.NewSeries()}
	if asked(m.Faults.Lose, p.job.ID) { // at once, whatever else has ended meanwhile
		p.lose.Do(func() { close(p.gone) })
		p.out = lost
		return
	}
	select {
	case <-p.gone:
		p.out = lost
		return
	case <-p.stop:
		how.Exit, p.out.Signal, p.out.EndedBy = -1, "terminated", shim.ByRequest
	case <-end.C:
		if how.Waits || asked(m.Faults.Hang, p.job.ID) {
			how.Exit, p.out.Signal, p.out.EndedBy = -1, "killed", shim.ByTime
		}
	}
	p.out.Exit, p.out.Ended, p.out.LastOut = how.Exit, time.Now().UTC(), how.Prints
	files := objects.Tree{}
	keep := func(name, text string) {
		if d, err := m.Store.PutBytes([]byte(text)); err == nil {
			files = append(files, objects.File{Path: name, Digest: d, Size: int64(len(text))})
		}
	}
	keep("stdout", how.Prints)
	if how.Exit == 0 {
		p.out.Series.Add("score", research.Point{Step: -1, Value: how.Score})
		keep("metrics.jsonl", fmt.Sprintf("{\"score\": %v}\n", how.Score))
	}
	if d, err := m.Store.PutTree(files); err == nil {
		p.out.Evidence = string(d)
	}
}

// LoseNode has a job's node be lost.
func (m *Memory) LoseNode(id string) {
	m.mu.Lock()
	p := m.jobs[id]
	m.mu.Unlock()
	if p != nil {
		p.lose.Do(func() { close(p.gone) })
	}
}

// Clean implements executor.Executor.
func (m *Memory) Clean(_ context.Context, id string) error {
	m.mu.Lock()
	p := m.jobs[id]
	delete(m.jobs, id)
	m.mu.Unlock()
	if p != nil {
		p.once.Do(func() { close(p.stop) })
		<-p.ended
	}
	return nil
}

// Jobs implements executor.Executor.
func (m *Memory) Jobs() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.jobs)), nil
}

// Forget implements executor.Executor.
func (m *Memory) Forget(func(string) bool) error { return nil }

// Output implements executor.Executor.
func (m *Memory) Output(string, string) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(nil)), nil
}

// Close implements executor.Executor.
func (m *Memory) Close() {}

type memoryHandle struct {
	m *Memory
	p *played
}

// Wait implements executor.Handle.
func (h *memoryHandle) Wait(ctx context.Context) (executor.Outcome, error) {
	select {
	case <-h.p.ended:
	case <-ctx.Done():
		return executor.Outcome{}, ctx.Err()
	}
	if h.m.Faults.Late != nil {
		late := time.NewTimer(h.m.Faults.Late(h.p.job.ID))
		defer late.Stop()
		select {
		case <-late.C:
		case <-ctx.Done():
			return executor.Outcome{}, ctx.Err()
		}
	}
	return h.p.out, nil
}

// Stop implements executor.Handle.
func (h *memoryHandle) Stop(bool) error {
	h.p.once.Do(func() { close(h.p.stop) })
	return nil
}

// Snapshot implements executor.Handle.
func (h *memoryHandle) Snapshot(context.Context) (string, int64, error) { return "", 0, nil }

// Using implements executor.Handle.
func (h *memoryHandle) Using() (processes.Reading, bool) { return processes.Reading{}, false }
