package main

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"ratchet"

	"ratchet/internal/proof"
)

// TestBackupsKilled kills `ratchet backup create` at random moments: the backups
// that were there before restore, and the next one goes through.
func TestBackupsKilled(t *testing.T) {
	kills := proof.Of(15, 500)
	dir := t.TempDir()
	bin := self(t)
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command(bin, args...)
		cmd.Dir = dir
		return cmd
	}
	if err := os.WriteFile(filepath.Join(dir, "study.yaml"), []byte(killedStudy), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := command("run", "-q", "study.yaml").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	place := ratchet.BackupPlace{To: filepath.Join(dir, "backups")}
	e, err := ratchet.Open(filepath.Join(dir, ".ratchet"), ratchet.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	first, err := e.Backup(context.Background(), place)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ratchet.OpenBackups(context.Background(), place)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	rnd := rand.New(rand.NewPCG(1, 2))
	killed := 0
	tries := 10 * kills // a backup that is done in time does not count
	took := time.Second // by one that was not killed
	for i := 0; killed < kills && i < tries; i++ {
		if i%10 == 0 { // something new to back up
			if out, err := command("fork", "latest", "--at", "stage-planning").CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		to := place.To
		if i%2 == 1 {
			to = filepath.Join(dir, "fresh") // begun anew each time, or gone on with
			if i%4 == 1 {
				if err := os.RemoveAll(to); err != nil {
					t.Fatal(err)
				}
			}
		}
		cmd := command("backup", "create", "--to", to)
		began := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(rnd.Int64N(int64(took))), func() { _ = cmd.Process.Kill() })
		if cmd.Wait() != nil {
			killed++
		} else {
			took = time.Since(began)
		}
		timer.Stop()
		if i%25 == 24 || killed == kills {
			all, bad := r.List(context.Background())
			if len(bad) > 0 || len(all) == 0 || all[0].ID != first.ID {
				t.Fatalf("after %d kills there are %d backups; %v", killed, len(all), bad)
			}
			restored, err := ratchet.Open(filepath.Join(t.TempDir(), "home"), ratchet.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range []*ratchet.BackupManifest{first, all[len(all)-1]} {
				if _, err := restored.Restore(context.Background(), place, ratchet.RestoreOptions{Backup: m.ID, Output: filepath.Join(dir, "reports")}); err != nil {
					t.Errorf("after %d kills backup %s does not restore: %v", killed, m.ID, err)
				}
			}
			if v, err := restored.Verify(context.Background(), ratchet.VerifyOptions{}); err != nil || len(v.Damages) > 0 {
				t.Errorf("restored: %v (%v)", v, err)
			}
			if err := restored.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if v, err := r.Verify(context.Background()); err != nil || len(v.Damages) > 0 {
		t.Errorf("after %d kills: %+v (%v)", killed, v, err)
	}
	if out, err := command("backup", "create", "--to", filepath.Join(dir, "fresh")).CombinedOutput(); err != nil {
		t.Errorf("after %d kills a backup fails: %v: %s", killed, err, out)
	}
	if killed < kills {
		t.Errorf("only %d of %d were killed before they were done", killed, tries)
	}
	t.Logf("%d backups killed", killed)
}

const killedStudy = `version: 1
name: killed
program: {command: [sh, -c, 'head -c 300000 /dev/urandom > $RATCHET_OUTPUT/model; echo "{{\"score\": {seed}}}" > $RATCHET_METRICS']}
objective: {metric: score, goal: maximize}
parameters: {a: [1, 2, 3, 4, 5, 6]}
search: {method: grid, experiments: 6}
validation: {seeds: 2}
limits: {attempt: {time: 10m, memory: 64MiB, disk: 10MiB}}
`
