package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/mem"

	"ratchet/internal/engine"
	"ratchet/internal/guard"
	"ratchet/internal/node"
	"ratchet/internal/sandbox"
	"ratchet/study"
)

// shareOf checks a share of something, "80%", or where it is known how much
// there is of it, an amount.
func shareOf(what string) func(string) error {
	return func(s string) error {
		_, err := readShare(s, func() (int64, bool) { return 1, what != "" })
		return err
	}
}

// readShare reads a share from 0 to 1.
func readShare(s string, total func() (int64, bool)) (float64, error) {
	if text, ok := strings.CutSuffix(s, "%"); ok {
		n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil || n <= 0 || n > 100 {
			return 0, fmt.Errorf("%q is not a share; write one like 80%%", s)
		}
		return n / 100, nil
	}
	whole, known := total()
	if !known {
		return 0, fmt.Errorf("%q is not a share; write one like 80%%", s)
	}
	n, err := study.ParseBytes(s)
	if err != nil {
		return 0, fmt.Errorf("%q is neither a share nor an amount; write one like 80%% or 8GiB", s)
	}
	return min(1, float64(n)/float64(max(1, whole))), nil
}

// nodeOptions is what the settings say of the machine.
func (a *app) nodeOptions() (node.Options, error) {
	o := node.Options{Limits: node.DefaultLimits}
	set, err := a.configured()
	if err != nil {
		return o, err
	}
	home, _, err := a.homeFolder()
	if err != nil {
		return o, err
	}
	total := map[string]func() (int64, bool){
		"memory": func() (int64, bool) {
			m, err := mem.VirtualMemory()
			return int64(value(m)), err == nil
		},
		"disk": func() (int64, bool) { return sandbox.TotalSpace(filepath.Dir(home)) },
	}
	for name, to := range map[string]*float64{"cpu": &o.Limits.CPU, "memory": &o.Limits.Memory, "disk": &o.Limits.Disk, "gpu_memory": &o.Limits.GPUMemory} {
		v := set["machine."+name].Value
		if v == "" {
			continue
		}
		of := total[name]
		if of == nil {
			of = func() (int64, bool) { return 0, false }
		}
		if *to, err = readShare(v, of); err != nil {
			return o, usageError{fmt.Errorf("machine.%s: %w", name, err)}
		}
	}
	return o, nil
}

// watchOptions is what the settings say of watching runs.
func (a *app) watchOptions() (engine.WatchOptions, error) {
	var o engine.WatchOptions
	set, err := a.configured()
	if err != nil {
		return o, err
	}
	for name, to := range map[string]*time.Duration{"every": &o.Every, "health": &o.Health} {
		if v := set["monitor."+name].Value; v != "" {
			d, err := study.ParseDuration(v)
			if err != nil {
				return o, err
			}
			*to = max(time.Duration(d), 100*time.Millisecond)
		}
	}
	if v := set["alerts.to"].Value; v != "" {
		o.AlertTo = strings.Split(v, " ")
	}
	o.AlertFrom = set["alerts.from"].Value
	return o, nil
}

func value(m *mem.VirtualMemoryStat) uint64 {
	if m == nil {
		return 0
	}
	return m.Total
}

// breakers is what the settings say of breakers.
func (a *app) breakers() (guard.Policy, error) {
	p := guard.DefaultPolicy
	set, err := a.configured()
	if err != nil {
		return p, err
	}
	for name, to := range map[string]*int{"failures": &p.Failures, "probes": &p.Probes} {
		if v := set["breakers."+name].Value; v != "" {
			if *to, err = strconv.Atoi(v); err != nil {
				return p, err
			}
		}
	}
	if v := set["breakers.open_for"].Value; v != "" {
		d, err := study.ParseDuration(v)
		if err != nil {
			return p, err
		}
		p.OpenFor = time.Duration(d)
	}
	return p, nil
}
