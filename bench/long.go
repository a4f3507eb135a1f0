package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"ratchet/internal/engine"
	"ratchet/internal/gateway/ledger"
	"ratchet/internal/journal"
	"ratchet/internal/journal/sqlite"
	"ratchet/internal/research"
)

// appends compares a commit with a model's answer with one that has a small record,
// where the disk is not waited for.
func appends(b *bench) ([]row, error) {
	cost := func(size int) func() (float64, error) {
		return func() (float64, error) {
			dir, err := os.MkdirTemp("/dev/shm", "ratchet-bench-")
			if err != nil {
				return 0, err
			}
			defer os.RemoveAll(dir)
			j, err := sqlite.Open(filepath.Join(dir, "journal.db"))
			if err != nil {
				return 0, err
			}
			defer j.Close()
			payload, err := json.Marshal(strings.Repeat("word ", size/5))
			if err != nil {
				return 0, err
			}
			const n = 20_000
			var head journal.Head
			began := time.Now()
			for range n {
				entry := journal.Entry{Time: began, Type: "call.answered", Version: 1, Payload: payload}
				if head, err = j.Append(context.Background(), journal.CallsOf("r"), head, entry); err != nil {
					return 0, err
				}
			}
			return time.Since(began).Seconds() / n, nil
		}
	}
	got, err := turns(cost(200), cost(1000), cost(2000), cost(4000))
	if err != nil {
		return nil, err
	}
	var out []row
	for i, size := range []string{"1 kB", "2 kB", "4 kB"} {
		ratio := got[i+1] / got[0]
		out = append(out, row{"a commit with an answer of " + size + ", in memory", fmt.Sprintf("%.0f µs", got[i+1]*1e6), fmt.Sprintf("a record of 200 bytes: %.0f µs: %.2f times", got[0]*1e6, ratio), "1.5 times", ratio <= 1.5})
	}
	return out, nil
}

// followed is how late a subscriber in another process gets a record.
func followed(b *bench) ([]row, error) {
	dir, err := os.MkdirTemp(b.dir, "followed-")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "journal.db")
	ours, err := sqlite.Open(path)
	if err != nil {
		return nil, err
	}
	defer ours.Close()
	other, err := sqlite.Open(path) // as another process has it: they share nothing but the file
	if err != nil {
		return nil, err
	}
	defer other.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	came := make(chan time.Time)
	go func() {
		for _, err := range other.Subscribe(ctx, journal.Of("r"), 1) {
			if err != nil {
				return
			}
			came <- time.Now()
		}
	}()
	var late []float64
	var head journal.Head
	for i := range 100 {
		time.Sleep(time.Duration(i%37) * time.Millisecond) //nolint:forbidigo // at any moment
		if head, err = ours.Append(ctx, journal.Of("r"), head, journal.Entry{Time: time.Now(), Type: "t", Version: 1, Payload: []byte(`{}`)}); err != nil {
			return nil, err
		}
		durable := time.Now()
		late = append(late, (<-came).Sub(durable).Seconds())
	}
	most := 0.0
	for _, l := range late {
		most = max(most, l)
	}
	return []row{{"a record reaches a subscriber in another process", "after " + ms(median(late)) + ", " + ms(most) + " at most", "", "50 ms", most <= 0.050}}, nil
}

// longCalls measures `ratchet status` of a run with 100,000 model calls.
func longCalls(b *bench) ([]row, error) {
	const calls = 100_000
	dir, err := os.MkdirTemp(b.dir, "calls-")
	if err != nil {
		return nil, err
	}
	if err := writeStudy(dir, "random", 10); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "study.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	text = append(text, []byte("models: {allow: [openai/*]}\n")...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	e, err := engine.Open(filepath.Join(dir, ".ratchet"), engine.Options{})
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	run, err := e.Create(ctx, file, text, engine.RunOptions{Output: filepath.Join(dir, "out")})
	if err != nil {
		return nil, err
	}
	var head journal.Head
	var entries []journal.Entry
	add := func(kind string, r any) error {
		payload, err := json.Marshal(r)
		entries = append(entries, journal.Entry{Time: time.Now(), Type: kind, Version: 1, Payload: payload})
		return err
	}
	body := ledger.Content{Text: strings.Repeat("word ", 200), Size: 1000}
	for i := range calls {
		id := fmt.Sprintf("c%06d", i+1)
		spent := ledger.Spending{NanoUSD: 1000, Tokens: 300, Calls: 1}
		if err := add("call.sent", ledger.Sent{Call: id, Scope: "e0001-s1", Attempt: "e0001-s1-a1", Digest: id, Nth: 1, Method: "POST", Path: "/v1/chat/completions", Model: "gpt-4o", Targets: []string{"openai/gpt-4o"}, Request: body, Reserved: spent}); err != nil {
			return nil, err
		}
		if err := add("call.answered", ledger.Answered{Call: id, Provider: "openai", Model: "gpt-4o", Status: 200, Answer: body, Spent: spent, Tokens: ledger.Tokens{In: 200, Out: 100}}); err != nil {
			return nil, err
		}
		if err := add("call.delivered", ledger.Delivered{Call: id, Attempt: "e0001-s1-a1"}); err != nil {
			return nil, err
		}
		if len(entries) >= 3000 {
			if head, err = e.Journal.Append(ctx, journal.CallsOf(run), head, entries...); err != nil {
				return nil, err
			}
			entries = nil
		}
	}
	if _, err = e.Journal.Append(ctx, journal.CallsOf(run), head, entries...); err != nil {
		return nil, err
	}
	if err := e.Close(); err != nil {
		return nil, err
	}
	status := func() (float64, error) {
		c := exec.Command(b.binary, "status", run)
		c.Dir = dir
		began := time.Now()
		out, err := c.CombinedOutput()
		if err == nil && !bytes.Contains(out, []byte("100000 calls")) {
			err = fmt.Errorf("it prints %s", out)
		}
		return time.Since(began).Seconds(), err
	}
	first, err := status()
	if err != nil {
		return nil, err
	}
	got, err := turns(status)
	if err != nil {
		return nil, err
	}
	return []row{{"status of a run with 100,000 calls", ms(got[0]), fmt.Sprintf("the first time, with nothing kept: %s", ms(first)), "100 ms", got[0] <= 0.100}}, nil
}

// longRun measures what looking after a run with very many records takes of memory.
func longRun(b *bench) ([]row, error) {
	dir, err := os.MkdirTemp(b.dir, "long-")
	if err != nil {
		return nil, err
	}
	if err := writeStudy(dir, "random", 10); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "study.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	e, err := engine.Open(filepath.Join(dir, ".ratchet"), engine.Options{})
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	run, err := e.Create(ctx, file, text, engine.RunOptions{Output: filepath.Join(dir, "out")})
	if err != nil {
		return nil, err
	}
	head, err := e.Journal.Head(ctx, journal.Of(run))
	if err != nil {
		return nil, err
	}
	// Engines that come and go: their records take nothing of the state.
	events := []research.Payload{
		research.EngineStarted{Engine: "0123456789abcdef", Host: "bench", PID: 1, Release: "bench"}, research.EngineStopped{Engine: "0123456789abcdef", Reason: "bench"},
	}
	entries := make([]journal.Entry, 20_000)
	for int(head.Seq) < b.records {
		for i := range entries {
			event := events[i%2]
			payload, err := research.Encode(event)
			if err != nil {
				return nil, err
			}
			entries[i] = journal.Entry{Time: time.Now(), Type: event.Type(), Version: event.Version(), Payload: payload}
		}
		if head, err = e.Journal.Append(ctx, journal.Of(run), head, entries...); err != nil {
			return nil, err
		}
	}
	if err := e.Close(); err != nil {
		return nil, err
	}
	var out []row
	look := func(what string, args ...string) error {
		c := exec.Command(b.binary, args...)
		c.Dir = dir
		began := time.Now()
		text, err := c.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", what, err, text)
		}
		mib := float64(c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) / 1024
		out = append(out, row{fmt.Sprintf("%s of a run with %d records", what, b.records), fmt.Sprintf("%.0f MiB", mib), fmt.Sprintf("in %.0f s", time.Since(began).Seconds()), "200 MiB", mib <= 200})
		return nil
	}
	trust := exec.Command(b.binary, "trust", ".ratchet")
	trust.Dir = dir
	if text, err := trust.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, text)
	}
	if err := look("verify", "verify", run); err != nil {
		return out, err
	}
	if err := look("backup", "backup", "create", "--to", filepath.Join(dir, "backups")); err != nil {
		return out, err
	}
	// A page in the middle is lost.
	f, err := os.OpenFile(filepath.Join(dir, ".ratchet", "journal.db"), os.O_RDWR, 0)
	if err != nil {
		return out, err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(make([]byte, 4096), info.Size()/2/4096*4096)
	}
	if err := f.Close(); err != nil {
		return out, err
	}
	if err != nil {
		return out, err
	}
	return out, look("repair with a backup", "verify", "--repair", "--from", filepath.Join(dir, "backups"))
}
