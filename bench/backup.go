package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"ratchet/internal/engine"
	"ratchet/internal/objects"
)

// resticPassword encrypts restic's repositories: it has no others.
const resticPassword = "RESTIC_PASSWORD=bench"

// timed runs a command and returns how long it took, in seconds.
func timed(c *exec.Cmd) (float64, error) {
	c.Env = append(os.Environ(), resticPassword)
	began := time.Now()
	if out, err := c.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%v: %w: %s", c.Args, err, out)
	}
	return time.Since(began).Seconds(), nil
}

// withArtifacts makes a home with one run whose attempts left files of the
// given sizes, two thirds of them noise, as weights are, and one third text,
// as tables and logs are. It returns the home and the run.
func (b *bench) withArtifacts(name string, files, size int, events int64) (home, run string, err error) {
	dir := filepath.Join(b.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", "", err
	}
	if err := writeStudy(dir, "random", 1_000_000); err != nil {
		return "", "", err
	}
	home = filepath.Join(dir, ".ratchet")
	e, err := engine.Open(home, engine.Options{})
	if err != nil {
		return "", "", err
	}
	rnd := rand.NewChaCha8([32]byte{1})
	run, err = lengthen(e, dir, events, func(i int) (string, error) {
		if i >= files {
			return "", nil
		}
		content := make([]byte, size)
		if i%3 < 2 {
			_, _ = rnd.Read(content) // never fails
		} else {
			line := fmt.Appendf(nil, "%d,0.%d,learning,%x\n", i, rnd.Uint64(), rnd.Uint64())
			content = bytes.Repeat(line, size/len(line)+1)[:size]
			for at := 0; at < len(content); at += 40 { // text differs, too
				content[at] = byte('a' + rnd.Uint64()%26)
			}
		}
		d, err := e.Objects.PutBytes(content)
		if err != nil {
			return "", err
		}
		tree, err := e.Objects.PutTree(objects.Tree{{Path: "output/file", Digest: d, Size: int64(size)}})
		return string(tree), err
	})
	return home, run, errors.Join(err, e.Close())
}

// backups measures a first backup of 2 GiB of artifacts, and its restore,
// beside restic with the same home.
func backups(b *bench) ([]row, error) {
	if _, err := exec.LookPath("restic"); err != nil {
		return nil, errors.New("restic is missing (Debian: restic)")
	}
	const files, size = 512, 4 << 20
	home, _, err := b.withArtifacts("two-gib", files, size, 6*files)
	if err != nil {
		return nil, err
	}
	gib := float64(files) * size / (1 << 30)
	n := 0
	fresh := func(what string) string {
		n++
		return filepath.Join(b.dir, fmt.Sprint(what, "-", n))
	}
	var ours, theirs string
	discard := func(dir string) error {
		if dir == "" {
			return nil
		}
		return os.RemoveAll(dir)
	}
	save, err := turns(func() (float64, error) {
		if err := discard(ours); err != nil {
			return 0, err
		}
		ours = fresh("ours")
		return timed(exec.Command(b.binary, "--home", home, "backup", "create", "--to", ours))
	}, func() (float64, error) {
		if err := discard(theirs); err != nil {
			return 0, err
		}
		theirs = fresh("restic")
		if _, err := timed(exec.Command("restic", "--no-cache", "-r", theirs, "init")); err != nil {
			return 0, err
		}
		return timed(exec.Command("restic", "--no-cache", "-r", theirs, "backup", home))
	})
	if err != nil {
		return nil, err
	}
	var back string
	restore, err := turns(func() (float64, error) {
		if err := discard(back); err != nil {
			return 0, err
		}
		back = fresh("back")
		return timed(exec.Command(b.binary, "backup", "restore", "latest", "--from", ours, "--to", back))
	}, func() (float64, error) {
		if err := discard(back); err != nil {
			return 0, err
		}
		back = fresh("back")
		return timed(exec.Command("restic", "--no-cache", "-r", theirs, "restore", "latest", "--target", back))
	})
	if err != nil {
		return nil, err
	}
	line := func(what string, got []float64) row {
		return row{what, fmt.Sprintf("%.0f MiB/s (%.1f s)", gib*1024/got[0], got[0]), fmt.Sprintf("restic %.0f MiB/s (%.1f s): %.1f times", gib*1024/got[1], got[1], got[1]/got[0]), "restic's", got[0] <= got[1]}
	}
	return []row{line("first backup of 2 GiB of artifacts to a folder", save), line("restore of it, every object checked", restore)},
		errors.Join(discard(ours), discard(theirs), discard(back), os.RemoveAll(filepath.Dir(home)))
}

// incremental measures a backup of a home of 10,000 objects that did not
// change, beside restic's.
func incremental(b *bench) ([]row, error) {
	const files, size = 5000, 2000 // with its manifest each is two objects
	home, _, err := b.withArtifacts("objects", files, size, 5*files+100)
	if err != nil {
		return nil, err
	}
	ours, theirs := filepath.Join(b.dir, "inc-ours"), filepath.Join(b.dir, "inc-restic")
	mine := func() (float64, error) {
		return timed(exec.Command(b.binary, "--home", home, "backup", "create", "--to", ours))
	}
	restic := func() (float64, error) {
		return timed(exec.Command("restic", "--cache-dir", filepath.Join(b.dir, "restic-cache"), "-r", theirs, "backup", home))
	}
	if _, err := timed(exec.Command("restic", "-r", theirs, "init")); err != nil {
		return nil, err
	}
	for _, first := range []func() (float64, error){mine, restic} {
		if _, err := first(); err != nil {
			return nil, err
		}
	}
	before := folderSize(ours)
	got, err := turns(mine, restic)
	if err != nil {
		return nil, err
	}
	share := float64(folderSize(ours)-before) / rounds / float64(before)
	return []row{
		{"backup of an unchanged home of 10,000 objects", ms(got[0]), fmt.Sprintf("restic %s: %.1f times", ms(got[1]), got[1]/got[0]), "restic's", got[0] <= got[1]},
		{"what that backup writes", fmt.Sprintf("%.3f %% of the first", share*100), "", "1 %", share < 0.01},
	}, os.RemoveAll(filepath.Dir(home))
}

func folderSize(dir string) int64 {
	var n int64
	_ = filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			n += info.Size()
		}
		return nil
	})
	return n
}

// forks measures a fork of a run with 10,000 events and 5 GiB of artifacts.
func forks(b *bench) ([]row, error) {
	const files, size = 80, 64 << 20
	home, run, err := b.withArtifacts("five-gib", files, size, 10_000)
	if err != nil {
		return nil, err
	}
	before := folderSize(filepath.Join(home, "objects"))
	n := 0
	got, err := turns(func() (float64, error) {
		n++
		return timed(exec.Command(b.binary, "--home", home, "fork", run, "--output-dir", filepath.Join(b.dir, fmt.Sprint("fork-", n))))
	})
	if err != nil {
		return nil, err
	}
	grown := folderSize(filepath.Join(home, "objects")) - before
	return []row{{"fork of a run with 10,000 events and 5 GiB of artifacts", fmt.Sprintf("%s, %d bytes of artifacts copied", ms(got[0]), grown), "", "300 ms, nothing copied", got[0] <= 0.300 && grown == 0}},
		os.RemoveAll(filepath.Dir(home))
}

// folds measures `ratchet status` of a run with 1,000,000 events whose state
// was kept.
func folds(b *bench) ([]row, error) {
	dir := filepath.Join(b.dir, "million")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := writeStudy(dir, "random", 1_000_000); err != nil {
		return nil, err
	}
	home := filepath.Join(dir, ".ratchet")
	e, err := engine.Open(home, engine.Options{})
	if err != nil {
		return nil, err
	}
	run, err := lengthen(e, dir, 1_000_000, nil)
	if err = errors.Join(err, e.Close()); err != nil {
		return nil, err
	}
	status := func() (float64, error) { return timed(exec.Command(b.binary, "--home", home, "status", run)) }
	first, err := status()
	if err != nil {
		return nil, err
	}
	got, err := turns(status)
	if err != nil {
		return nil, err
	}
	return []row{{"`ratchet status` of a run with 1,000,000 events", ms(got[0]) + " with the kept state", fmt.Sprintf("folded from its beginning %.1f s", first), "1 s", got[0] <= 1}}, os.RemoveAll(dir)
}
