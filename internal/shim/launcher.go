package shim

import (
	"fmt"
	"os"
	"sync"
)

// Launcher starts commands. It keeps shims ready, since most of what starting
// a command costs is the start of its shim and of its sandbox, and gives those
// that are done with an attempt another. The zero Launcher is ready for use; a
// nil one keeps none. It is safe for concurrent use.
type Launcher struct {
	mu     sync.Mutex
	spares []*shimProcess // the one that has waited longest first
	works  map[*shimProcess]bool
	busy   bool // a spare is being started
	closed bool
	wait   sync.WaitGroup
}

// maxSpares is how many shims are kept ready: one can make its next sandbox
// while another is at work.
const maxSpares = 2

// Close ends the spares, and lets go of those at work: they see their attempts
// to the end on their own.
func (l *Launcher) Close() {
	l.mu.Lock()
	l.closed = true
	spares := l.spares
	l.spares = nil
	for s := range l.works {
		s.letGo()
	}
	l.mu.Unlock()
	for _, s := range spares {
		s.close()
		<-s.exited
	}
	l.wait.Wait()
}

// launch gives an attempt to a shim.
func (l *Launcher) launch(folder string, record *os.File, given []string) (*Process, error) {
	if l != nil {
		defer l.replenish()
		for s := l.idleShim(); s != nil; s = l.idleShim() {
			if h, err := l.give(s, folder, record, given); err == nil {
				return h, nil
			}
			s.close() // it is gone
		}
	}
	s, err := startShim()
	if err != nil {
		return nil, fmt.Errorf("starting an attempt: %w", err)
	}
	h, err := l.give(s, folder, record, given)
	if err != nil {
		s.close()
		return nil, fmt.Errorf("starting an attempt: %w", err)
	}
	return h, nil
}

// give gives an attempt to a shim.
func (l *Launcher) give(s *shimProcess, folder string, record *os.File, given []string) (*Process, error) {
	if err := s.send(folder, record, given); err != nil {
		return nil, err
	}
	l.begun(s)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if stays := s.hear(); !l.ended(s, stays) {
			s.close()
		}
	}()
	return &Process{folder: folder, ended: ended}, nil
}

// begun notes that a shim is at work.
func (l *Launcher) begun(s *shimProcess) {
	if l == nil {
		s.letGo()
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		s.letGo()
	}
	if l.works == nil {
		l.works = map[*shimProcess]bool{}
	}
	l.works[s] = true
}

// ended notes that a shim is not at work, and reports whether it is kept.
func (l *Launcher) ended(s *shimProcess, stays bool) bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.works, s)
	if !stays || l.closed || len(l.spares) >= maxSpares {
		return false
	}
	l.spares = append(l.spares, s)
	return true
}

func (l *Launcher) idleShim() *shimProcess {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.spares) == 0 {
		return nil
	}
	s := l.spares[0]
	l.spares = l.spares[1:]
	return s
}

// replenish starts a spare, unless there is one. Without one all is as ever,
// only slower.
func (l *Launcher) replenish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.spares) > 0 || l.busy || l.closed {
		return
	}
	l.busy = true
	l.wait.Go(func() {
		s, err := startShim()
		l.mu.Lock()
		l.busy = false
		l.mu.Unlock()
		if err == nil && !l.ended(s, true) {
			s.close()
			<-s.exited
		}
	})
}
