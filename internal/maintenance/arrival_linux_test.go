package maintenance_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ratchet/internal/engine"
	"ratchet/internal/engine/enginetest"
	"ratchet/internal/environment"
	"ratchet/internal/history"
	"ratchet/internal/home"
	"ratchet/internal/journal"
	"ratchet/internal/maintenance"
	"ratchet/internal/objects"
	"ratchet/internal/research"
)

// TestArrivals: what a backup's records say of walls, of folders for reports and
// of what programs see is not believed.
func TestArrivals(t *testing.T) {
	ctx := context.Background()
	victim, secret := t.TempDir(), t.TempDir()
	l := enginetest.New(t, "version: 1\nname: arrival\nprogram: {command: [sh, x.sh], files: [x.sh]}\nretries: {max: 0}\n", "cat "+secret+"/* >&2; echo ran > "+victim+"/ran; exit 0\n")
	for name, text := range map[string]string{filepath.Join(victim, "report.html"): "mine", filepath.Join(victim, "study.yaml"): "mine", filepath.Join(secret, "s"): "nobody may see it"} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// The stranger's home: a run that was created, with other words in its record.
	stranger := l.Open(engine.Options{})
	run := l.Create(stranger)
	s, _, err := stranger.Load(ctx, run)
	if err != nil {
		t.Fatal(err)
	}
	forge := func(change func(*research.RunCreated)) string {
		t.Helper()
		created := s.Created
		change(&created)
		b, err := research.Encode(created)
		if err != nil {
			t.Fatal(err)
		}
		j := journal.NewMemory()
		if _, err := j.Append(ctx, journal.Of(run), journal.Head{}, journal.Entry{Time: time.Now(), Type: created.Type(), Version: created.Version(), Payload: b}); err != nil {
			t.Fatal(err)
		}
		folder := t.TempDir()
		e := enginetest.Open(t, folder, engine.Options{Options: home.Options{Journal: j, Objects: stranger.Objects}})
		place := filepath.Join(t.TempDir(), "place")
		if _, err := e.Backup(ctx, maintenance.BackupPlace{To: place}, nil); err != nil {
			t.Fatal(err)
		}
		return place
	}
	restored := func(place string) *enginetest.Engine {
		t.Helper()
		e := enginetest.Open(t, t.TempDir(), engine.Options{})
		if _, err := e.Restore(ctx, maintenance.BackupPlace{To: place}, maintenance.RestoreOptions{Backup: "latest", Output: t.TempDir()}); err != nil {
			t.Fatal(err)
		}
		return e
	}
	untouched := func() {
		t.Helper()
		entries, err := os.ReadDir(victim)
		if err != nil || len(entries) != 2 {
			t.Errorf("the victim's folder has %v (%v)", entries, err)
		}
		for _, entry := range entries {
			if b, err := os.ReadFile(filepath.Join(victim, entry.Name())); err != nil || string(b) != "mine" {
				t.Errorf("%s is %q (%v)", entry.Name(), b, err)
			}
		}
	}
	t.Run("its report", func(t *testing.T) {
		e := restored(forge(func(c *research.RunCreated) { c.Output = victim }))
		if err := e.Publish(ctx, run); err != nil {
			t.Fatal(err)
		}
		if l.Drive(e, run); e.Publish(ctx, run) != nil {
			t.Fatal("it cannot be published again")
		}
		s, _, err := e.Load(ctx, run)
		if err != nil || e.Output(s) == victim || s.Status != research.Completed {
			t.Errorf("its report is in %s, it is %s (%v)", e.Output(s), s.Status, err)
		}
		if _, err := os.Stat(filepath.Join(e.Output(s), "results.json")); err != nil {
			t.Error(err)
		}
		untouched()
	})
	t.Run("its walls", func(t *testing.T) {
		e := restored(forge(func(c *research.RunCreated) { c.Isolation = "process" }))
		for _, name := range []string{run, fork(t, e, run)} { // a fork has come with it
			_, err := e.Drive(ctx, name, engine.DriveOptions{})
			var arrived *engine.ArrivedError
			if !errors.As(err, &arrived) || arrived.Flag != "--isolation process" {
				t.Errorf("driven without being asked: %v", err)
			}
		}
		untouched()
		if _, err := e.Drive(ctx, run, engine.DriveOptions{Isolation: "process"}); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(victim, "ran")); err != nil {
			t.Error("accepted, it has walls")
		}
		_ = os.Remove(filepath.Join(victim, "ran"))
	})
	t.Run("what it sees", func(t *testing.T) {
		env, err := json.Marshal(environment.Environment{ReadOnly: []string{secret}, Path: secret, Isolation: "strict"})
		if err != nil {
			t.Fatal(err)
		}
		d, err := stranger.Objects.PutBytes(env)
		if err != nil {
			t.Fatal(err)
		}
		e := restored(forge(func(c *research.RunCreated) { c.Environment = string(d) }))
		s := l.Drive(e, run)
		tree, err := e.Objects.Tree(objects.Digest(s.Experiments[0].Trials[0].Last().Evidence))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range tree {
			if b, err := e.Objects.Get(f.Digest); err != nil || strings.Contains(string(b), "nobody may see it") {
				t.Errorf("%s has %q (%v)", f.Path, b, err)
			}
		}
	})
	t.Run("its keys", func(t *testing.T) {
		key := filepath.Join(t.TempDir(), ".env")
		if err := os.WriteFile(key, []byte("KEY=1"), 0o600); err != nil {
			t.Fatal(err)
		}
		e := restored(forge(func(c *research.RunCreated) {
			st := *c.Study
			st.Program.Environment = filepath.Dir(key)
			c.Study = &st
		}))
		_, err := e.Drive(ctx, run, engine.DriveOptions{})
		var arrived *engine.ArrivedError
		if !errors.As(err, &arrived) || !strings.HasPrefix(arrived.Flag, "--allow-input ") {
			t.Errorf("driven without being asked: %v", err)
		}
	})
	t.Run("its name", func(t *testing.T) {
		place := forge(func(c *research.RunCreated) { c.Run = "../../victim" })
		e := enginetest.Open(t, t.TempDir(), engine.Options{})
		if _, err := e.Restore(ctx, maintenance.BackupPlace{To: place}, maintenance.RestoreOptions{Backup: "latest", Output: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "are those of") {
			t.Errorf("restored: %v", err)
		}
	})
}

func fork(t *testing.T, e *enginetest.Engine, run string) string {
	t.Helper()
	name, err := e.Fork(context.Background(), run, 0, history.ForkOptions{Output: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return name
}
