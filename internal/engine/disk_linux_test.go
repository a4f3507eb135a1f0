package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ratchet/internal/engine"
	"ratchet/internal/engine/enginetest"
)

// TestFullDisk: the file system of the home is full, for real.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small file system to fill; CI does it")
	}
	l := enginetest.New(t, enginetest.SmallStudy, enginetest.SmallProgram)
	if err := os.Mkdir(l.Home(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("small", l.Home(), "tmpfs", 0, "size=64m"); err != nil {
		t.Fatal(err)
	}
	e := l.Open(engine.Options{})
	t.Cleanup(func() {
		_ = e.Close()
		if err := syscall.Unmount(l.Home(), 0); err != nil {
			t.Error(err)
		}
	})
	run := l.Create(e)
	filler := filepath.Join(l.Home(), "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<16)
	for err == nil {
		_, err = f.Write(block)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = e.Drive(context.Background(), run, engine.DriveOptions{})
	if err == nil || !strings.Contains(err.Error(), "no space left") && !strings.Contains(err.Error(), "full") {
		t.Errorf("the disk is full, and driving says %v", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	l.Drive(e, run)
	l.Digest(e, run)
	l.OnceEach()
}
