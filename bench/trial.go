package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// program is the trivial program of a trial: a shell that writes one line.
const program = `echo '{"y": 1}' > "$RATCHET_METRICS"`

// tasks is how many trials one round takes, one after another.
const tasks = 200

func command(name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Stderr = os.Stderr
	return c
}

// trials measures a trivial trial from its decision to its outcome in the
// journal, beside the same program under nothing, make and snakemake.
func trials(b *bench) ([]row, error) {
	for _, tool := range []string{"make", "snakemake", "bwrap"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%s is missing (Debian: make, snakemake, bubblewrap)", tool)
		}
	}
	ours := func() (float64, error) {
		// What start and end of a run cost is taken off by a shorter run.
		short, err := b.study(1)
		if err != nil {
			return 0, err
		}
		long, err := b.study(1 + tasks)
		return (long - short) / tasks, err
	}
	got, err := turns(ours, b.bare, b.bubblewrap, b.make, b.snakemake)
	if err != nil {
		return nil, err
	}
	return []row{{
		"a trivial trial under strict", fmt.Sprintf("%s, %s over bare", ms(got[0]), ms(got[0]-got[1])),
		fmt.Sprintf("bare fork, exec, wait %s; bubblewrap %s; GNU make %s; snakemake %s", ms(got[1]), ms(got[2]), ms(got[3]), ms(got[4])),
		"10 ms over bare", got[0]-got[1] <= 0.010,
	}}, nil
}

// study runs the trivial study with so many experiments and returns the
// seconds it took.
func (b *bench) study(experiments int) (float64, error) {
	dir, err := os.MkdirTemp(b.dir, "study-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := writeStudy(dir, "random", experiments); err != nil {
		return 0, err
	}
	c := command(b.binary, "run", "-q", "study.yaml")
	c.Dir = dir
	began := time.Now()
	if err := c.Run(); err != nil {
		return 0, err
	}
	return time.Since(began).Seconds(), nil
}

func writeStudy(dir, method string, experiments int) error {
	command := strings.NewReplacer("{", "{{", "}", "}}", "'", "''").Replace(program)
	study := fmt.Sprintf(`version: 1
name: bench
program: {command: [sh, -c, '%s']}
objective: {metric: y, goal: maximize}
parameters: {x: {float: [0, 1]}}
search: {method: %s, experiments: %d}
validation: {seeds: 2}
limits: {attempt: {time: 60s, memory: 64MiB, disk: 10MiB}}
`, command, method, experiments)
	return os.WriteFile(filepath.Join(dir, "study.yaml"), []byte(study), 0o600)
}

// repeat times a command and gives seconds for each.
func (b *bench) repeat(name string, args ...string) (float64, error) {
	began := time.Now()
	for range tasks {
		c := command(name, args...)
		c.Env = []string{"PATH=/usr/bin:/bin", "RATCHET_METRICS=" + filepath.Join(b.dir, "metrics")}
		if err := c.Run(); err != nil {
			return 0, err
		}
	}
	return time.Since(began).Seconds() / tasks, nil
}

func (b *bench) bare() (float64, error) { return b.repeat("/bin/sh", "-c", program) }

func (b *bench) bubblewrap() (float64, error) {
	return b.repeat("bwrap", "--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--bind", b.dir, b.dir, "--die-with-parent", "/bin/sh", "-c", program)
}

func (b *bench) make() (float64, error) {
	var text bytes.Buffer
	fmt.Fprintf(&text, "all: ")
	for i := range tasks {
		fmt.Fprintf(&text, "t%d ", i)
	}
	for i := range tasks {
		fmt.Fprintf(&text, "\nt%d:\n\t@%s\n", i, strings.ReplaceAll(program, "$", "$$"))
	}
	return b.tool("Makefile", text.Bytes(), "make", "-j1")
}

func (b *bench) snakemake() (float64, error) {
	text := fmt.Sprintf("rule all:\n    input: expand('t{i}', i=range(%d))\nrule t:\n    output: 't{i}'\n    shell: \"\"\"%s; touch {output}\"\"\"\n",
		tasks, strings.NewReplacer("{", "{{", "}", "}}").Replace(program))
	return b.tool("Snakefile", []byte(text), "snakemake", "-q", "-j1")
}

// tool times a build tool over its file, all tasks together.
func (b *bench) tool(file string, text []byte, name string, args ...string) (float64, error) {
	dir, err := os.MkdirTemp(b.dir, "tool-")
	if err != nil {
		return 0, err
	}
	if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
		return 0, err
	}
	c := exec.Command(name, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "RATCHET_METRICS="+filepath.Join(dir, "metrics"), "PATH=/usr/bin:/bin")
	began := time.Now()
	if out, err := c.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return time.Since(began).Seconds() / tasks, nil
}

// starts measures how long the command line takes to say something.
func starts(b *bench) ([]row, error) {
	dir, err := os.MkdirTemp(b.dir, "start-")
	if err != nil {
		return nil, err
	}
	if err := writeStudy(dir, "random", 20); err != nil {
		return nil, err
	}
	run := command(b.binary, "run", "-q", "study.yaml")
	run.Dir = dir
	if err := run.Run(); err != nil {
		return nil, err
	}
	timed := func(what string) func() (float64, error) {
		return func() (float64, error) {
			began := time.Now()
			for range 20 {
				c := command(b.binary, what)
				c.Dir = dir
				if err := c.Run(); err != nil {
					return 0, err
				}
			}
			return time.Since(began).Seconds() / 20, nil
		}
	}
	got, err := turns(timed("version"), timed("status"))
	if err != nil {
		return nil, err
	}
	return []row{{"`ratchet version`, `ratchet status`", ms(got[0]) + ", " + ms(got[1]), "", "30 ms", got[0] <= 0.030 && got[1] <= 0.030}}, nil
}

// size is that of the binary as it is released.
func size(b *bench) ([]row, error) {
	without := b.binary + "-nocloud"
	if err := command("go", "build", "-C", "..", "-tags", "nocloud", "-trimpath", "-ldflags", "-s -w", "-o", without, "./cmd/ratchet").Run(); err != nil {
		return nil, err
	}
	var rows []row
	for _, of := range []struct{ path, what string }{{b.binary, "with the clients of object stores"}, {without, "without (-tags nocloud)"}} {
		info, err := os.Stat(of.path)
		if err != nil {
			return nil, err
		}
		mib := float64(info.Size()) / (1 << 20)
		rows = append(rows, row{fmt.Sprintf("binary, static, %s/%s, %s", runtime.GOOS, runtime.GOARCH, of.what), fmt.Sprintf("%.1f MiB", mib), "", "35 MiB", mib <= 35})
	}
	return rows, nil
}
