//go:build !nocloud

package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
	"google.golang.org/api/storage/v1"
)

// gcs keeps blobs in Google Cloud Storage, by its JSON interface. The client
// that gocloud.dev stands on for it would make the binary half as large
// again; the URLs are the same: gs://BUCKET, with ?prefix= and ?access_id=-
// for no credentials.
type gcs struct {
	service *storage.Service
	bucket  string
	prefix  string
	leasing
}

func openGCS(ctx context.Context, dest string) (store, error) {
	u, err := url.Parse(dest)
	if err != nil {
		return nil, fmt.Errorf("the place for backups: %w", err)
	}
	var options []option.ClientOption
	// The variable is that of Google's own clients, for its emulators.
	if host := os.Getenv("STORAGE_EMULATOR_HOST"); host != "" {
		if !strings.Contains(host, "://") {
			host = "http://" + host
		}
		options = append(options, option.WithEndpoint(strings.TrimSuffix(host, "/")+"/storage/v1/"), option.WithHTTPClient(&http.Client{}))
	} else if u.Query().Get("access_id") == "-" {
		options = append(options, option.WithoutAuthentication())
	}
	s, err := storage.NewService(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("opening the place for backups: %w", err)
	}
	return &gcs{s, u.Host, u.Query().Get("prefix"), leases}, nil
}

// Write implements Store.
func (g *gcs) Write(ctx context.Context, name string, write func(io.Writer) error) error {
	return g.insert(ctx, name, write, func(c *storage.ObjectsInsertCall) {})
}

func (g *gcs) insert(ctx context.Context, name string, write func(io.Writer) error, with func(*storage.ObjectsInsertCall)) error {
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := write(w)
		written <- err
		_ = w.CloseWithError(err)
	}()
	call := g.service.Objects.Insert(g.bucket, &storage.Object{Name: g.prefix + name}).Context(ctx).
		Media(r, googleapi.ContentType("application/octet-stream"))
	with(call)
	_, err := call.Do()
	_ = r.CloseWithError(errors.New("the upload has ended"))
	if failed := <-written; failed != nil && err == nil {
		// The service was told the end before the whole: what it has is no blob.
		return errors.Join(failed, g.Delete(context.WithoutCancel(ctx), name))
	}
	return err
}

// Open implements Store.
func (g *gcs) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	response, err := g.service.Objects.Get(g.bucket, g.prefix+name).Context(ctx).Download()
	if isStatus(err, http.StatusNotFound) {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

func isStatus(err error, code int) bool {
	var answer *googleapi.Error
	return errors.As(err, &answer) && answer.Code == code
}

// List implements Store.
func (g *gcs) List(ctx context.Context, prefix string) ([]blobInfo, error) {
	var out []blobInfo
	err := g.service.Objects.List(g.bucket).Prefix(g.prefix+prefix).Pages(ctx, func(page *storage.Objects) error {
		for _, o := range page.Items {
			t, err := time.Parse(time.RFC3339, o.Updated)
			if err != nil {
				return err
			}
			out = append(out, blobInfo{strings.TrimPrefix(o.Name, g.prefix), int64(o.Size), t})
		}
		return nil
	})
	return out, err
}

// Delete implements Store.
func (g *gcs) Delete(ctx context.Context, name string) error {
	if err := g.service.Objects.Delete(g.bucket, g.prefix+name).Context(ctx).Do(); err != nil && !isStatus(err, http.StatusNotFound) {
		return err
	}
	return nil
}

// Lock implements Store.
func (g *gcs) Lock(ctx context.Context, holder string) (func(), error) {
	return g.lock(ctx, g, holder)
}

func (g *gcs) putLease(ctx context.Context, content []byte, fresh bool) error {
	err := g.insert(ctx, lockName, func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(content))
		return err
	}, func(c *storage.ObjectsInsertCall) {
		if fresh {
			c.IfGenerationMatch(0)
		}
	})
	if isStatus(err, http.StatusPreconditionFailed) {
		return fs.ErrExist
	}
	return err
}

// Close implements Store.
func (g *gcs) Close() error { return nil }
