package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ratchet/internal/sandbox"
	"ratchet/internal/shim"
	"ratchet/study"
)

// walls measures the start of a command under strict isolation, from the call
// to its end, beside bubblewrap with the same namespaces and nothing at all.
func walls(b *bench) ([]row, error) {
	if _, err := exec.LookPath("bwrap"); err != nil {
		return nil, fmt.Errorf("bwrap is missing (Debian: bubblewrap): %w", err)
	}
	var l shim.Launcher
	defer l.Close()
	n := 0
	ours := func() (float64, error) {
		began := time.Now()
		for range tasks {
			n++
			folder := filepath.Join(b.dir, "walls", strconv.Itoa(n))
			h, err := l.Start(folder, boxed([]string{"/bin/sh", "-c", "true"}, 64<<20), func(string) error { return nil })
			if err != nil {
				return 0, err
			}
			if _, err := h.Wait(context.Background()); err != nil {
				return 0, err
			}
		}
		return time.Since(began).Seconds() / tasks, nil
	}
	// What is removed meanwhile would make the next rounds slower: ext4 passes
	// over inodes that were freed in the last minutes.
	defer os.RemoveAll(filepath.Join(b.dir, "walls"))
	got, err := turns(ours, b.bare, b.bubblewrap)
	if err != nil {
		return nil, err
	}
	return []row{{
		"start and end of a command under strict", fmt.Sprintf("%s, %s over bare", ms(got[0]), ms(got[0]-got[1])),
		fmt.Sprintf("bubblewrap %s, %s over bare", ms(got[2]), ms(got[2]-got[1])), "bubblewrap's", got[0] <= got[2],
	}}, nil
}

func boxed(command []string, memory int64) *sandbox.Spec {
	return &sandbox.Spec{
		Command: command, Env: []string{"PATH=/usr/bin:/bin"}, Isolation: sandbox.Strict,
		Limits: study.AttemptLimits{
			Time: study.Duration(time.Minute), Grace: study.Duration(time.Second), Memory: study.Bytes(memory), CPUs: 2,
			Disk: 10 << 20, Output: 1 << 20, Processes: 32, Network: study.NetworkNone,
		},
	}
}

// hungry takes 1 GiB a second, 8 MiB at a time, and says how much it has.
const hungry = `
import sys, time
x, began = [], time.monotonic()
while True:
    x.append(bytearray(8 << 20)); x[-1][::4096] = b"1" * 2048
    sys.stdout.write("%d\n" % len(x)); sys.stdout.flush()
    time.sleep(max(0, began + len(x) * 8 / 1024 - time.monotonic()))
`

const hungryLimit = 256 << 20

// overshoot is how far above its limit the hungry program got, in bytes, at
// most of several rounds.
func overshoot(dir string) (int64, error) {
	worst := int64(0)
	for i := range rounds {
		folder := filepath.Join(dir, "hungry", strconv.Itoa(i))
		h, err := (*shim.Launcher)(nil).Start(folder, boxed([]string{"python3", "-c", hungry}, hungryLimit), func(string) error { return nil })
		if err != nil {
			return 0, err
		}
		e, err := h.Wait(context.Background())
		if err != nil {
			return 0, err
		}
		if e.EndedBy != shim.ByMemory && !e.OOMKilled {
			return 0, fmt.Errorf("the hungry program ended otherwise: %+v", e)
		}
		out, err := os.ReadFile(shim.Stdout(folder))
		if err != nil {
			return 0, err
		}
		last := int64(0)
		for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
			if n, err := strconv.ParseInt(s.Text(), 10, 64); err == nil {
				last = n << 23
			}
		}
		worst = max(worst, last-hungryLimit)
	}
	return worst, nil
}

// watchdogChild makes this program measure its overshoot and no more, as the
// user that it was started as.
const watchdogChild = "RATCHET_BENCH_WATCHDOG"

// watchdog measures how far a program that takes 1 GiB a second gets over its
// limit, with control groups, as root, and without, as an ordinary user.
func watchdog(b *bench) ([]row, error) {
	held, err := overshoot(b.dir)
	if err != nil {
		return nil, err
	}
	share := max(0, float64(held)/hungryLimit)
	rows := []row{{"a program that takes 1 GiB/s, limit 256 MiB, with control groups", fmt.Sprintf("stopped at most %.0f %% above", 100*share), "", "20 %", share < 0.20}}
	if os.Getuid() != 0 {
		return rows, nil
	}
	dir, err := os.MkdirTemp("", "ratchet-bench-user-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o777); err != nil { //nolint:gosec // another user works here
		return nil, err
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "bench"), self, 0o755)
	}
	if err != nil {
		return nil, err
	}
	c := command("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", filepath.Join(dir, "bench"))
	c.Dir, c.Env = dir, []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + dir, "TMPDIR=" + dir, watchdogChild + "=" + dir}
	out, err := c.Output()
	if err != nil {
		return nil, err
	}
	var over int64
	if err := json.Unmarshal(out, &over); err != nil {
		return nil, err
	}
	late := float64(over) / (1 << 30)
	return append(rows, row{"the same without control groups, as an ordinary user", fmt.Sprintf("stopped at most %.0f ms late", 1000*late), "", "200 ms", late <= 0.200}), nil
}

// watching measures the engine's processor time while 50 attempts sleep.
func watching(b *bench) ([]row, error) {
	const attempts, seconds = 50, 20
	dir, err := os.MkdirTemp(b.dir, "watching-")
	if err != nil {
		return nil, err
	}
	file := fmt.Sprintf(`version: 1
name: bench
program: {command: [sleep, "60"]}
objective: {metric: y, goal: maximize}
parameters: {x: {float: [0, 1]}}
search: {method: random, experiments: %d}
limits: {attempt: {time: 120s, memory: 64MiB, disk: 10MiB}}
parallel: %d
`, attempts, attempts)
	if err := os.WriteFile(filepath.Join(dir, "study.yaml"), []byte(file), 0o600); err != nil {
		return nil, err
	}
	c := command(b.binary, "run", "-q", "--on-interrupt", "stop", "study.yaml")
	c.Dir, c.Stderr = dir, nil
	if err := c.Start(); err != nil {
		return nil, err
	}
	defer func() {
		_ = c.Process.Signal(os.Interrupt)
		_ = c.Wait() // it was interrupted
	}()
	time.Sleep(15 * time.Second) // until all have begun
	first, err := processorTime(c.Process.Pid)
	if err != nil {
		return nil, err
	}
	time.Sleep(seconds * time.Second)
	last, err := processorTime(c.Process.Pid)
	if err != nil {
		return nil, err
	}
	share := (last - first) / seconds
	return []row{{"the engine, while 50 attempts run and are watched every second", fmt.Sprintf("%.1f %% of a processor", 100*share), "", "1 %", share <= 0.01}}, nil
}

// processorTime is what a process has used, in seconds.
func processorTime(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, _ := strconv.ParseFloat(f[11], 64)
	system, _ := strconv.ParseFloat(f[12], 64)
	return (user + system) / 100, nil // USER_HZ
}
