package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"ratchet/study"
)

// Probe reports why a level of isolation cannot be had here, by trying it. It
// tries once a process: a machine does not change under it.
func Probe(level Isolation) error {
	level, err := ParseIsolation(string(level))
	if err != nil {
		return err
	}
	return probes[level]()
}

var probes = map[Isolation]func() error{
	Strict:  sync.OnceValue(func() error { return try(Strict) }),
	Process: sync.OnceValue(func() error { return try(Process) }),
}

func try(level Isolation) error {
	_, err := Ask(context.Background(), &Spec{
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
	add("strict isolation", Probe(Strict), "namespaces, read-only system, seccomp, no privileges")
	add("process isolation", Probe(Process), "limits and control of the process tree; no walls: files, the network and other processes stay within reach")
	if version := landlockVersion(); version == 0 {
		add("Landlock", errors.New("this kernel has none; mounts and seccomp stand alone"), "")
	} else {
		add("Landlock", nil, fmt.Sprintf("version %d of its interface: a second wall around files", version))
	}
	g := newCgroup()
	err := g.limit(study.AttemptLimits{Memory: 64 << 20, CPUs: 1, Processes: 16})
	g.remove()
	if len(g.dirs) == 0 {
		err = errors.New("not to be had by this user; memory is bounded by looking every 50 ms, processors by stopping what has used its share")
	}
	add("control groups", err, "the kernel bounds memory, processors and processes")
	if noticing() {
		add("attacks noticed", nil, "the kernel asks about system calls that only an attack needs")
	} else {
		add("attacks noticed", errors.New("this kernel only refuses them (seccomp without user notification)"), "")
	}
	return out
}

// BoundsProcesses reports whether the number of an attempt's processes is
// bounded under any isolation: by control groups.
func BoundsProcesses() bool {
	h := findHierarchy()
	return h.v2 || h.base["pids"] != ""
}
