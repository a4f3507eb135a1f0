package shim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"ratchet/internal/sandbox"
	"ratchet/study"
)

// Probe reports why a level of isolation cannot be had here, by trying it. It
// tries once a process: a machine does not change under it.
func Probe(level sandbox.Isolation) error {
	level, err := sandbox.ParseIsolation(string(level))
	if err != nil {
		return err
	}
	return probes[level]()
}

var probes = map[sandbox.Isolation]func() error{
	sandbox.Strict:  sync.OnceValue(func() error { return try(sandbox.Strict) }),
	sandbox.Process: sync.OnceValue(func() error { return try(sandbox.Process) }),
}

func try(level sandbox.Isolation) error {
	_, err := Ask(context.Background(), &sandbox.Spec{
		Command: []string{"true"}, Env: []string{"PATH=/usr/bin:/bin:/run/current-system/sw/bin"}, Isolation: level,
		Limits: study.AttemptLimits{
			Time: study.Duration(10 * time.Second), Memory: 64 << 20, CPUs: 1, Disk: 1 << 20, Output: 1 << 10, Processes: 16, Network: study.NetworkNone,
		},
	}, func(string) error { return nil })
	if err != nil {
		return fmt.Errorf("%s isolation cannot be had here: %w%s", level, err, remedy(err))
	}
	return nil
}

func remedy(err error) string {
	if restricted, _ := os.ReadFile("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"); strings.HasPrefix(string(restricted), "1") {
		return "; AppArmor restricts user namespaces here: set kernel.apparmor_restrict_unprivileged_userns=0, or accept --isolation process if you trust the program"
	}
	if none, _ := os.ReadFile("/proc/sys/user/max_user_namespaces"); strings.HasPrefix(string(none), "0\n") {
		return "; user namespaces are off here: set user.max_user_namespaces above 0, or accept --isolation process if you trust the program"
	}
	if strings.Contains(err.Error(), "/proc") {
		return "; this looks like a container with a masked /proc: start it with --security-opt systempaths=unconfined, or accept --isolation process if you trust the program"
	}
	return "; accept --isolation process (limits, but no walls) if you trust the program"
}

// Abilities says what this machine can do for isolation.
func Abilities() []Ability {
	out := []Ability{}
	add := func(name string, err error, detail string) {
		if err != nil {
			detail = err.Error()
		}
		out = append(out, Ability{name, err == nil, detail})
	}
	add("strict isolation", Probe(sandbox.Strict), "namespaces, read-only system, seccomp, no privileges")
	add("process isolation", Probe(sandbox.Process), "limits and control of the process tree; no walls: files, the network and other processes stay within reach")
	if version := sandbox.LandlockVersion(); version == 0 {
		add("Landlock", errors.New("this kernel has none; mounts and seccomp stand alone"), "")
	} else {
		add("Landlock", nil, fmt.Sprintf("version %d of its interface: a second wall around files", version))
	}
	add("control groups", sandbox.BoundsByGroups(), "the kernel bounds memory, processors and processes")
	if sandbox.Noticing() {
		add("attacks noticed", nil, "the kernel asks about system calls that only an attack needs")
	} else {
		add("attacks noticed", errors.New("this kernel only refuses them (seccomp without user notification)"), "")
	}
	return out
}
