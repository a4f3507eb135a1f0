package backup

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"
	"time"
)

// store is where backups are kept: named blobs, written once. Names have
// slashes. Its methods are safe for concurrent use.
type store interface {
	// Write stores what write gives under a name. The blob is there whole and
	// durably on return, or it is not there. Writing a name again replaces it.
	Write(ctx context.Context, name string, write func(io.Writer) error) error
	// Open opens a blob; the error is fs.ErrNotExist if there is none.
	Open(ctx context.Context, name string) (io.ReadCloser, error)
	// List gives all blobs whose names begin with a prefix, by name.
	List(ctx context.Context, prefix string) ([]blobInfo, error)
	// Delete removes a blob; one that is not there is no error.
	Delete(ctx context.Context, name string) error
	// Lock keeps others from writing until unlock. The error is a HeldError if
	// another process does already. A holder that died lets go by itself.
	Lock(ctx context.Context, holder string) (unlock func(), err error)
	Close() error
}

// blobInfo is a stored blob.
type blobInfo struct {
	Name string
	Size int64 // bytes
	Time time.Time
}

// HeldError says that another process writes to the same place.
type HeldError struct{ Holder string }

func (h *HeldError) Error() string {
	return fmt.Sprintf("%s writes to this backup; try again when it is done", h.Holder)
}

// openStore opens a place for backups: the path of a folder, or a URL with the
// scheme file, s3, gs or azblob, as gocloud.dev/blob reads it.
func openStore(ctx context.Context, dest string) (store, error) {
	scheme, _, isURL := strings.Cut(dest, "://")
	switch {
	case dest == "":
		return nil, fmt.Errorf("no place for backups is named")
	case !isURL:
		return openFolder(dest)
	case scheme == "file":
		u, err := url.Parse(dest)
		if err != nil {
			return nil, fmt.Errorf("the place for backups: %w", err)
		}
		return openFolder(filepath.FromSlash(u.Path))
	}
	if scheme == "gs" {
		return openGCS(ctx, dest)
	}
	return openBucket(ctx, dest)
}
