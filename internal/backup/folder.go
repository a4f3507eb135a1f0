package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ratchet/internal/filelock"
	"ratchet/internal/objects"
	"ratchet/internal/untrusted"
)

// folder keeps blobs as files. A file is written under a temporary name,
// synced and renamed, so that one that has its name is whole.
type folder struct{ dir string }

const unfinished = ".unfinished-"

func openFolder(dir string) (store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return &folder{dir}, nil
}

func (f *folder) path(name string) string { return filepath.Join(f.dir, filepath.FromSlash(name)) }

// Write implements Store.
func (f *folder) Write(ctx context.Context, name string, write func(io.Writer) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	path := f.path(name)
	if err := mkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), unfinished+"*")
	if err != nil {
		return err
	}
	err = write(tmp)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return objects.SyncFolder(filepath.Dir(path))
}

// mkdirAll makes folders that a power cut does not take away again.
func mkdirAll(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := mkdirAll(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return objects.SyncFolder(filepath.Dir(dir))
}

// Open implements Store. The folder may be a stranger's.
func (f *folder) Open(_ context.Context, name string) (io.ReadCloser, error) {
	dir, err := untrusted.Open(f.dir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	file, _, err := dir.Open(name)
	if untrusted.Theirs(err) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		return nil, &BackupDamageError{name, "it is not a regular file"}
	}
	if err != nil {
		return nil, err
	}
	return file, nil
}

// List implements Store.
func (f *folder) List(ctx context.Context, prefix string) ([]blobInfo, error) {
	var out []blobInfo
	root := f.path(prefix[:strings.LastIndex(prefix, "/")+1])
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || e.IsDir() {
			return errors.Join(err, ctx.Err())
		}
		rel, err := filepath.Rel(f.dir, path)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		if !strings.HasPrefix(name, prefix) || strings.HasPrefix(e.Name(), unfinished) {
			return nil
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			out = append(out, blobInfo{name, info.Size(), info.ModTime()})
		}
		return err
	})
	slices.SortFunc(out, func(a, b blobInfo) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}

// Delete implements Store.
func (f *folder) Delete(_ context.Context, name string) error {
	if err := os.Remove(f.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Lock implements Store. The lock is free when its holder is gone, however it
// went; what that left unfinished goes now.
func (f *folder) Lock(_ context.Context, holder string) (func(), error) {
	if err := mkdirAll(f.dir); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(f.path(lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := filelock.Lock(file); err != nil {
		defer file.Close()
		if !errors.Is(err, filelock.ErrHeld) {
			return nil, fmt.Errorf("locking %s: %w", f.dir, err)
		}
		b, _ := io.ReadAll(io.LimitReader(file, 200)) // its name is a courtesy
		return nil, &HeldError{string(b)}
	}
	err = file.Truncate(0)
	if err == nil {
		_, err = file.WriteAt([]byte(holder), 0)
	}
	if err == nil {
		err = f.tidy()
	}
	if err != nil {
		filelock.Release(file)
		return nil, err
	}
	return func() { filelock.Release(file) }, nil
}

// tidy removes what writers that were killed have left.
func (f *folder) tidy() error {
	return filepath.WalkDir(f.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasPrefix(e.Name(), unfinished) {
			return err
		}
		return os.Remove(path)
	})
}

// Close implements Store.
func (f *folder) Close() error { return nil }
