package node

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"ratchet/internal/executor"
	"ratchet/internal/failure"
	"ratchet/internal/filelock"
	"ratchet/internal/home"
	"ratchet/internal/monitor"
	"ratchet/internal/research"
	"ratchet/internal/shim"
	"ratchet/internal/untrusted"
	"ratchet/study"
)

// Claim is what an attempt keeps of the machine for itself.
type Claim struct {
	Home    string  `json:"home"` // the folder of the home that the run is in
	Run     string  `json:"run"`
	Attempt string  `json:"attempt"`
	Memory  int64   `json:"memory"` // bytes
	CPUs    float64 `json:"cpus"`
	GPUs    []int   `json:"gpus,omitempty"`
	// Processors are whole ones that it runs on alone, as far as this user's attempts
	// go, by their numbers; nil: any.
	Processors []int   `json:"processors,omitempty"`
	Share      float64 `json:"share,omitempty"` // of each of its GPUs
	GPUMemory  int64   `json:"gpu_memory,omitempty"`
}

// room says which attempts may begin, so that all that run together on a home,
// by whichever process, stay within the machine's limits and no GPU has two
// that may not share it. Claims are files: one counts as long as its attempt
// runs or an engine drives its run, so that nothing has to be mended after a
// crash. They are of this machine and this boot, and lie in memory where that
// can be had: on the journal's disk each would make the next sync dearer.
type room struct {
	home   *home.Home
	dir    string
	prefix string // of the names of this home's claims

	mu      sync.Mutex
	known   map[string]Claim // by file name
	waiting []*waiter
	changed chan struct{} // closed, and made anew, when an attempt leaves
	inside  int           // attempts of this process
	most    int           // of them at most, by the machine's pressure; 0: no bound
	pressed time.Time     // when pressure counted last
}

// waiter is an attempt that waits for room.
type waiter struct {
	attempt string
	risk    float64 // the chance that it fails: the least goes first
	why     string
}

// newRoom returns the room of a home. Its claims lie in dir, where those of the user's
// other homes are; "": a folder of the user's in this machine's memory.
func newRoom(h *home.Home, dir string) *room {
	sum := sha256.Sum256([]byte(h.Folder))
	r := &room{home: h, dir: dir, prefix: hex.EncodeToString(sum[:8]) + ".", known: map[string]Claim{}, changed: make(chan struct{})}
	if dir != "" {
		return r
	}
	r.dir = filepath.Join(h.Folder, "claims")
	if shared := fmt.Sprintf("/dev/shm/ratchet-%d", os.Getuid()); home.OwnFolder(shared) {
		r.dir = shared
	}
	return r
}

// lookEvery is how often a waiter looks whether others, which say nothing,
// have left.
const lookEvery = 500 * time.Millisecond

// capacity is what there is to share.
type capacity struct {
	limits monitor.Limits
	memory monitor.Memory
	free   int64 // of the home's disk, bytes
	disk   int64 // that an attempt may need
	cpus   int
	own    []int // processors that this process may run on, by their numbers
	gpus   []monitor.GPU
}

// enter waits until there is room for a claim and keeps it. GPUs are chosen
// here: of those with room, the ones that are used least.
func (r *room) enter(ctx context.Context, want Claim, gpus float64, risk float64, now func() capacity, stopping func() bool) (Claim, error) {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return want, err
	}
	me := &waiter{attempt: want.Attempt, risk: risk}
	r.mu.Lock()
	r.waiting = append(r.waiting, me)
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.waiting = slices.DeleteFunc(r.waiting, func(w *waiter) bool { return w == me })
	}()
	for {
		c := now()
		r.mu.Lock()
		got, why, err := r.try(me, want, gpus, c)
		me.why = why
		changed := r.changed
		r.mu.Unlock()
		if err != nil || why == "" {
			return got, err
		}
		look := time.NewTimer(lookEvery)
		select {
		case <-changed:
		case <-look.C:
		case <-ctx.Done():
		}
		look.Stop()
		if ctx.Err() != nil || stopping() {
			return want, executor.ErrStopping
		}
	}
}

// try keeps a claim, or says why it must wait.
func (r *room) try(me *waiter, want Claim, gpus float64, c capacity) (Claim, string, error) {
	for _, w := range r.waiting {
		if w != me && w.why != "" && w.risk < me.risk {
			return want, "attempts that are less likely to fail go first", nil
		}
	}
	if r.most > 0 && r.inside >= r.most {
		return want, fmt.Sprintf("the machine is under pressure: %d at the same time for now", r.most), nil
	}
	lock, err := os.OpenFile(filepath.Join(r.dir, ".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return want, "", err
	}
	defer filelock.Release(lock)
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return want, "", err
	}
	others, err := r.claims()
	if err != nil {
		return want, "", err
	}
	if why := c.refuses(want, others); why != "" {
		return want, why, nil
	}
	if gpus > 0 && len(c.gpus) > 0 {
		var why string
		if want.GPUs, want.Share, why = c.devices(want, gpus, others); why != "" {
			return want, why, nil
		}
	}
	want.Processors = c.processors(want, append(others, r.elsewhere()...))
	if err := r.saveClaim(want); failure.ClassOf(err) == research.Resource {
		return want, err.Error(), nil
	} else if err != nil {
		return want, "", err
	}
	return want, "", nil
}

// saveClaim writes a claim down.
func (r *room) saveClaim(c Claim) error {
	c.Home = r.home.Folder
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(r.dir, r.file(c)), b, 0o600); err != nil {
		return err
	}
	r.known[r.file(c)] = c
	r.inside++
	return nil
}

func (r *room) file(c Claim) string {
	return r.prefix + untrusted.Name(c.Run) + "." + untrusted.Name(c.Attempt) + ".json"
}

// attach keeps the claim of an attempt that runs already.
func (r *room) attach(c Claim) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return err
	}
	return r.saveClaim(c)
}

// leave gives a claim back.
func (r *room) leave(c Claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = os.Remove(filepath.Join(r.dir, r.file(c))) // one that stays counts for nothing once the run is not driven
	delete(r.known, r.file(c))
	r.inside--
	close(r.changed)
	r.changed = make(chan struct{})
}

// claims are those that count. What counts no more is removed.
func (r *room) claims() ([]Claim, error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return nil, err
	}
	var out []Claim
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasPrefix(name, r.prefix) {
			continue
		}
		c, known := r.known[name]
		if !known {
			b, err := os.ReadFile(filepath.Join(r.dir, name))
			if errors.Is(err, fs.ErrNotExist) || json.Unmarshal(b, &c) != nil {
				continue // given back meanwhile
			}
			if !alive(r.home, c) {
				_ = os.Remove(filepath.Join(r.dir, name))
				continue
			}
		}
		out = append(out, c)
	}
	return out, nil
}

// elsewhere are the claims of this user's other homes that count there. They keep an
// attempt from sharing processors with them, and from nothing else.
func (r *room) elsewhere() (out []Claim) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		if name := entry.Name(); !strings.HasPrefix(name, r.prefix) && strings.HasSuffix(name, ".json") {
			var c Claim
			if b, err := os.ReadFile(filepath.Join(r.dir, name)); err == nil && json.Unmarshal(b, &c) == nil &&
				c.Home != "" && alive(&home.Home{Folder: c.Home}, c) {
				out = append(out, c)
			}
		}
	}
	return out
}

// alive reports whether a claim of another process, or of an earlier one,
// counts: its attempt runs, or a process drives its run and is about to start
// it.
func alive(h *home.Home, c Claim) bool {
	return shim.Live(h.AttemptFolder(c.Run, c.Attempt)) || h.Driven(c.Run) != nil
}

// forget removes the claims of a run that this process begins to drive: those
// of attempts that run are kept anew.
func (r *room) forget(run string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	files, _ := filepath.Glob(filepath.Join(r.dir, r.prefix+untrusted.Name(run)+".*.json")) // the pattern is a good one
	for _, f := range files {
		_ = os.Remove(f)
		delete(r.known, filepath.Base(f))
	}
}

// refuses says why there is no room for a claim beside others; "": there is.
// One that would be alone always has room: waiting would not make more.
func (c capacity) refuses(want Claim, others []Claim) string {
	if c.disk > 0 && c.free > 0 && c.free < min(c.disk, 64<<20) {
		return fmt.Sprintf("the disk of the home has %s left", study.Bytes(c.free))
	}
	if len(others) == 0 {
		return ""
	}
	var memory int64
	var cpus float64
	for _, o := range others {
		memory += o.Memory
		cpus += o.CPUs
	}
	if c.limits.Memory > 0 && c.memory.Total > 0 {
		may := int64(c.limits.Memory * float64(c.memory.Total))
		if memory+want.Memory > may {
			return fmt.Sprintf("memory: %s are reserved, it may need %s, and %s may be used together", study.Bytes(memory), study.Bytes(want.Memory), study.Bytes(may))
		}
		if c.memory.Available < want.Memory && float64(c.memory.Available) < float64(c.memory.Total)*(1-c.limits.Memory) {
			return fmt.Sprintf("memory: %s are available, and it may need %s", study.Bytes(c.memory.Available), study.Bytes(want.Memory))
		}
	}
	if c.limits.CPU > 0 && cpus+want.CPUs > c.limits.CPU*float64(c.cpus) {
		return fmt.Sprintf("processors: %.3g are reserved, it may use %.3g, and %.3g may be used together", cpus, want.CPUs, c.limits.CPU*float64(c.cpus))
	}
	return ""
}

// processors chooses whole processors for a claim of such, of those that no other has;
// nil: it does not get any of its own, and may run on all.
func (c capacity) processors(want Claim, others []Claim) (chosen []int) {
	n := int(want.CPUs)
	if float64(n) != want.CPUs || n < 1 || n >= len(c.own) {
		return nil
	}
	for _, p := range c.own {
		if !slices.ContainsFunc(others, func(o Claim) bool { return slices.Contains(o.Processors, p) }) {
			if chosen = append(chosen, p); len(chosen) == n {
				return chosen
			}
		}
	}
	return nil
}

// devices chooses GPUs: whole ones that are free, or for a fraction one with
// that much left.
func (c capacity) devices(want Claim, gpus float64, others []Claim) (chosen []int, share float64, why string) {
	n, share := int(gpus), 1.0
	if gpus < 1 {
		n, share = 1, gpus
	}
	type device struct {
		index        int
		taken        float64
		used, memory int64
	}
	var free []device
	for _, g := range c.gpus {
		d := device{index: g.Index}
		for _, o := range others {
			if slices.Contains(o.GPUs, g.Index) {
				d.taken += o.Share
				d.memory += o.GPUMemory
			}
		}
		if g.MemoryUsed != nil {
			d.used = *g.MemoryUsed
		}
		if d.taken+share > 1+1e-9 {
			continue
		}
		if g.MemoryTotal != nil && c.limits.GPUMemory > 0 && want.GPUMemory > 0 {
			may := int64(c.limits.GPUMemory * float64(*g.MemoryTotal))
			if max(d.memory, d.used)+want.GPUMemory > may {
				continue
			}
		}
		free = append(free, d)
	}
	if len(free) < n {
		return nil, 0, fmt.Sprintf("GPUs: it needs %.3g, and %d of %d have room", gpus, len(free), len(c.gpus))
	}
	slices.SortStableFunc(free, func(a, b device) int {
		return cmp.Or(cmp.Compare(b.taken, a.taken), cmp.Compare(a.used, b.used)) // fills up a shared one first
	})
	for _, d := range free[:n] {
		chosen = append(chosen, d.index)
	}
	slices.Sort(chosen)
	return chosen, share, ""
}

// press lowers how many attempts run at the same time while the machine is
// under pressure, and raises it again, one at a time, when that is over:
// additive increase as of TCP, with steps of one both ways, since an attempt
// is large.
//
// It counts once in every: runs that are watched at the same time see the same
// machine.
func (r *room) press(p *monitor.Pressure, parallel int, every time.Duration) {
	if p == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); every > 0 {
		if now.Sub(r.pressed) < every/2 {
			return
		}
		r.pressed = now
	}
	high := p.Memory > 0.2 || p.MemoryFull > 0.1 || p.IOFull > 0.6
	low := p.Memory < 0.05 && p.MemoryFull < 0.02 && p.IOFull < 0.3
	switch {
	case high && r.most == 0 && r.inside > 1:
		r.most = r.inside - 1
	case high && r.most > 1:
		r.most--
	case low && r.most > 0:
		if r.most++; r.most >= parallel {
			r.most = 0
		}
		close(r.changed)
		r.changed = make(chan struct{})
	}
}

// standing is how many attempts wait, why the first of them does, and how many
// may run now.
func (r *room) standing(parallel int) (waiting int, why string, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.waiting {
		if w.why != "" {
			if waiting++; why == "" {
				why = w.attempt + ": " + w.why
			}
		}
	}
	if r.most > 0 {
		return waiting, why, r.most
	}
	return waiting, why, parallel
}
