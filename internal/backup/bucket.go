//go:build !nocloud

package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/s3blob"    // s3://
	"gocloud.dev/gcerrors"
)

// bucket keeps blobs in an object store.
type bucket struct {
	b *blob.Bucket
	leasing
}

func openBucket(ctx context.Context, dest string) (store, error) {
	b, err := blob.OpenBucket(ctx, quiet(dest))
	if err != nil {
		return nil, fmt.Errorf("opening the place for backups: %w", err)
	}
	return &bucket{b, leases}, nil
}

// quiet keeps the S3 client from asking for checksums that many servers do
// not have, and from warning of it: every blob is checked against a digest of
// ours.
func quiet(dest string) string {
	u, err := url.Parse(dest)
	if err != nil || u.Scheme != "s3" {
		return dest
	}
	q := u.Query()
	for _, key := range []string{"request_checksum_calculation", "response_checksum_validation"} {
		if !q.Has(key) {
			q.Set(key, "when_required")
		}
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// Write implements Store.
func (b *bucket) Write(ctx context.Context, name string, write func(io.Writer) error) error {
	return b.write(ctx, name, &blob.WriterOptions{ContentType: "application/octet-stream"}, write)
}

func (b *bucket) write(ctx context.Context, name string, o *blob.WriterOptions, write func(io.Writer) error) error {
	// A writer whose context has ended stores nothing when it is closed.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := b.b.NewWriter(ctx, name, o)
	if err != nil {
		return err
	}
	if err := write(w); err != nil {
		cancel()
		_ = w.Close()
		return err
	}
	return w.Close()
}

// Open implements Store.
func (b *bucket) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := b.b.NewReader(ctx, name, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// List implements Store.
func (b *bucket) List(ctx context.Context, prefix string) ([]blobInfo, error) {
	var out []blobInfo
	for it := b.b.List(&blob.ListOptions{Prefix: prefix}); ; {
		o, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, blobInfo{o.Key, o.Size, o.ModTime})
	}
}

// Delete implements Store.
func (b *bucket) Delete(ctx context.Context, name string) error {
	if err := b.b.Delete(ctx, name); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return err
	}
	return nil
}

// Close implements Store.
func (b *bucket) Close() error { return b.b.Close() }

// Lock implements Store.
func (b *bucket) Lock(ctx context.Context, holder string) (func(), error) {
	return b.lock(ctx, b, holder)
}

func (b *bucket) putLease(ctx context.Context, content []byte, fresh bool) error {
	err := b.write(ctx, lockName, &blob.WriterOptions{IfNotExist: fresh, ContentType: "application/json"}, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
	if gcerrors.Code(err) == gcerrors.FailedPrecondition {
		return fs.ErrExist
	}
	return err
}
