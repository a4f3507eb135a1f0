package settings

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/mem"

	"ratchet/internal/breaker"
	"ratchet/internal/diskspace"
	"ratchet/internal/maintenance"
	"ratchet/internal/node"
	"ratchet/internal/report"
	"ratchet/internal/watching"
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

// Node is what the settings say of the machine.
func (s *Settings) Node() (o node.Options, err error) {
	o.Limits = node.DefaultLimits
	total := map[string]func() (int64, bool){
		"memory": func() (int64, bool) {
			m, err := mem.VirtualMemory()
			return int64(value(m)), err == nil
		},
		"disk": func() (int64, bool) { return diskspace.Total(filepath.Dir(s.home)) },
	}
	for name, to := range map[string]*float64{"cpu": &o.Limits.CPU, "memory": &o.Limits.Memory, "disk": &o.Limits.Disk, "gpu_memory": &o.Limits.GPUMemory} {
		v := s.Get("machine." + name)
		if v == "" {
			continue
		}
		of := total[name]
		if of == nil {
			of = func() (int64, bool) { return 0, false }
		}
		if *to, err = readShare(v, of); err != nil {
			return o, &Error{fmt.Errorf("machine.%s: %w", name, err)}
		}
	}
	return o, nil
}

// Watch is what the settings say of watching runs.
func (s *Settings) Watch() (o watching.Options, err error) {
	for name, to := range map[string]*time.Duration{"every": &o.Every, "health": &o.Health} {
		if v := s.Get("monitor." + name); v != "" {
			d, err := study.ParseDuration(v)
			if err != nil {
				return o, err
			}
			*to = max(time.Duration(d), 100*time.Millisecond)
		}
	}
	if v := s.Get("alerts.to"); v != "" {
		o.AlertTo = strings.Split(v, " ")
	}
	o.AlertFrom = s.Get("alerts.from")
	return o, nil
}

func value(m *mem.VirtualMemoryStat) uint64 {
	if m == nil {
		return 0
	}
	return m.Total
}

// Breakers is what the settings say of breakers.
func (s *Settings) Breakers() (p breaker.Policy, err error) {
	p = breaker.DefaultPolicy
	for name, to := range map[string]*int{"failures": &p.Failures, "probes": &p.Probes} {
		if v := s.Get("breakers." + name); v != "" {
			if *to, err = strconv.Atoi(v); err != nil {
				return p, err
			}
		}
	}
	if v := s.Get("breakers.open_for"); v != "" {
		d, err := study.ParseDuration(v)
		if err != nil {
			return p, err
		}
		p.OpenFor = time.Duration(d)
	}
	return p, nil
}

// Backups is what the settings say of backups.
func (s *Settings) Backups() (p maintenance.BackupPolicy, err error) {
	p = maintenance.BackupPolicy{AfterStage: s.Get("backup.after_stage") == "true"}
	p.To, p.Identity = s.set["backup.to"].beside(s.home), s.set["backup.identity"].beside(s.home)
	if v := s.Get("backup.recipients"); v != "" {
		p.Recipients = strings.Split(v, ",")
	}
	if v := s.Get("backup.every"); v != "" {
		d, err := study.ParseDuration(v)
		if err != nil {
			return p, err
		}
		p.Every = time.Duration(d)
	}
	for key, to := range map[string]*int{"last": &p.Keep.Last, "daily": &p.Keep.Daily, "weekly": &p.Keep.Weekly} {
		if v := s.Get("backup.keep." + key); v != "" {
			if *to, err = strconv.Atoi(v); err != nil {
				return p, err
			}
		}
	}
	if p.To == "" && (p.Every > 0 || p.AfterStage) {
		return p, &Error{errors.New("the settings ask for backups and do not say where to; set backup.to, a folder or a URL")}
	}
	return p, nil
}

// Prices are what the machine costs.
func (s *Settings) Prices() (p report.Prices, err error) {
	for key, to := range map[string]*study.Money{"cpu_hour": &p.CPUHour, "gpu_hour": &p.GPUHour, "gib_month": &p.GiBMonth} {
		if v := s.Get("prices." + key); v != "" {
			if *to, err = study.ParseMoney(v); err != nil {
				return p, err
			}
		}
	}
	return p, nil
}
