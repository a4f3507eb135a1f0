package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// locations are the kinds of stores: a folder, an S3 server and a server that
// speaks Google's JSON interface, both on loopback.
func locations(t *testing.T) map[string]string {
	return map[string]string{"folder": filepath.Join(t.TempDir(), "new", "place"), "s3": s3Server(t), "gs": gcsServer(t)}
}

// s3Server starts an S3 server with a bucket, and gives the bucket's URL.
func s3Server(t *testing.T) string {
	backend := s3mem.New()
	if err := backend.CreateBucket("backups"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(gofakes3.New(backend).Server())
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of clients that read half a blob
	server.Start()
	t.Cleanup(server.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test-key")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return "s3://backups?region=us-east-1&use_path_style=true&endpoint=" + url.QueryEscape(server.URL)
}

// gcsServer speaks as much of the JSON interface of Google Cloud Storage, in
// one bucket, as https://cloud.google.com/storage/docs/json_api/v1 says of
// inserting, getting, listing and deleting.
func gcsServer(t *testing.T) string {
	type object struct {
		content []byte
		updated time.Time
	}
	var mu sync.Mutex
	there := map[string]object{}
	fail := func(w http.ResponseWriter, code int) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": code}})
	}
	mux := http.NewServeMux()
	store := func(w http.ResponseWriter, r *http.Request, name string, content []byte) {
		mu.Lock()
		defer mu.Unlock()
		if _, ok := there[name]; ok && r.URL.Query().Get("ifGenerationMatch") == "0" {
			fail(w, http.StatusPreconditionFailed)
			return
		}
		there[name] = object{content, time.Now()}
		fmt.Fprintf(w, `{"name": %q}`, name)
	}
	uploads := map[string][]byte{} // resumable ones, by name
	mux.HandleFunc("POST /upload/storage/v1/b/backups/o", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("uploadType") == "resumable" {
			var meta struct{ Name string }
			if json.NewDecoder(r.Body).Decode(&meta) != nil {
				fail(w, http.StatusBadRequest)
				return
			}
			w.Header().Set("Location", "http://"+r.Host+"/resumable?name="+url.QueryEscape(meta.Name))
			return
		}
		_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || r.URL.Query().Get("uploadType") != "multipart" {
			fail(w, http.StatusBadRequest)
			return
		}
		parts := multipart.NewReader(r.Body, params["boundary"])
		var meta struct{ Name string }
		var content []byte
		if p, err := parts.NextPart(); err != nil || json.NewDecoder(p).Decode(&meta) != nil {
			fail(w, http.StatusBadRequest)
			return
		}
		p, err := parts.NextPart()
		if err == nil {
			content, err = io.ReadAll(p)
		}
		if err != nil {
			fail(w, http.StatusBadRequest)
			return
		}
		store(w, r, meta.Name, content)
	})
	mux.HandleFunc("/resumable", func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Query().Get("name")
		chunk, err := io.ReadAll(r.Body)
		if err != nil {
			fail(w, http.StatusBadRequest)
			return
		}
		mu.Lock()
		uploads[name] = append(uploads[name], chunk...)
		content := uploads[name]
		mu.Unlock()
		if strings.HasSuffix(r.Header.Get("Content-Range"), "/*") { // its end is not known yet
			w.Header().Set("X-Http-Status-Code-Override", "308")
			w.Header().Set("Range", fmt.Sprintf("bytes=0-%d", len(content)-1))
			w.WriteHeader(http.StatusOK)
			return
		}
		store(w, r, name, content)
	})
	mux.HandleFunc("GET /storage/v1/b/backups/o", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		type item struct {
			Name    string `json:"name"`
			Size    string `json:"size"`
			Updated string `json:"updated"`
		}
		var names []string
		for name := range there {
			if strings.HasPrefix(name, r.URL.Query().Get("prefix")) && name > r.URL.Query().Get("pageToken") {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		answer := map[string]any{}
		if len(names) > 3 { // pages are small, so that there are some
			names = names[:3]
			answer["nextPageToken"] = names[2]
		}
		var items []item
		for _, name := range names {
			items = append(items, item{name, fmt.Sprint(len(there[name].content)), there[name].updated.Format(time.RFC3339Nano)})
		}
		answer["items"] = items
		_ = json.NewEncoder(w).Encode(answer)
	})
	mux.HandleFunc("/storage/v1/b/backups/o/{name...}", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		o, ok := there[r.PathValue("name")]
		switch {
		case !ok:
			fail(w, http.StatusNotFound)
		case r.Method == http.MethodDelete:
			delete(there, r.PathValue("name"))
			w.WriteHeader(http.StatusNoContent)
		default:
			_, _ = w.Write(o.content)
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Setenv("STORAGE_EMULATOR_HOST", server.URL)
	t.Cleanup(func() { http.DefaultTransport.(*http.Transport).CloseIdleConnections() })
	return "gs://backups?prefix=mine/"
}

func put(t *testing.T, s store, name string, content []byte) {
	t.Helper()
	err := s.Write(t.Context(), name, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, s store, name string) string {
	t.Helper()
	r, err := s.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestStores: every store keeps the contract.
func TestStores(t *testing.T) {
	for kind, dest := range locations(t) {
		t.Run(kind, func(t *testing.T) {
			s, err := openStore(t.Context(), dest)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			large := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
			for name, content := range map[string][]byte{"a": []byte("one"), "dir/b": nil, "dir/deep/c": large, "dir/d": []byte("4"), "dire": []byte("5")} {
				put(t, s, name, content)
				if got := read(t, s, name); got != string(content) {
					t.Errorf("%s: %d bytes came back of %d", name, len(got), len(content))
				}
			}
			put(t, s, "a", []byte("another"))
			if got := read(t, s, "a"); got != "another" {
				t.Errorf("written again it is %q", got)
			}
			if _, err := s.Open(t.Context(), "nothing"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("what is not there: %v", err)
			}
			broken := errors.New("the writer broke off")
			if err := s.Write(t.Context(), "half", func(w io.Writer) error {
				if _, err := w.Write(large); err != nil {
					return err
				}
				return broken
			}); !errors.Is(err, broken) {
				t.Errorf("a writer that broke off: %v", err)
			}
			if _, err := s.Open(t.Context(), "half"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("half a blob is there: %v", err)
			}
			blobs, err := s.List(t.Context(), "dir/")
			if err != nil || len(blobs) != 3 || blobs[0].Name != "dir/b" || blobs[2].Name != "dir/deep/c" || blobs[2].Size != int64(len(large)) || time.Since(blobs[0].Time) > time.Minute {
				t.Errorf("listed: %+v (%v)", blobs, err)
			}
			if all, err := s.List(t.Context(), ""); err != nil || len(all) != 5 {
				t.Errorf("listed: %+v (%v)", all, err)
			}
			for range 2 {
				if err := s.Delete(t.Context(), "dir/d"); err != nil {
					t.Error(err)
				}
			}
			lock(t, s)
		})
	}
}

// lock: one holds it, the other is told who does.
func lock(t *testing.T, s store) {
	unlock, err := s.Lock(t.Context(), "process 7 on here")
	if err != nil {
		t.Fatal(err)
	}
	var held *HeldError
	if _, err := s.Lock(t.Context(), "process 8"); !errors.As(err, &held) || held.Holder != "process 7 on here" {
		t.Errorf("held: %v", err)
	}
	unlock()
	unlock, err = s.Lock(t.Context(), "process 8")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

// TestLeaseOfADeadHolder: a lock that is not renewed is taken over; one that is
// renewed is not.
func TestLeaseOfADeadHolder(t *testing.T) {
	for _, dest := range []string{s3Server(t), gcsServer(t)} {
		s, err := openStore(t.Context(), dest)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		put(t, s, lockName, []byte(`{"holder": "process 1 on a machine that is gone"}`))
		var held *HeldError
		if _, err := s.Lock(t.Context(), "me"); !errors.As(err, &held) || !strings.Contains(held.Holder, "gone") {
			t.Errorf("within its time: %v", err)
		}
		unlock, err := leasing{renew: time.Hour, dead: 0}.lock(t.Context(), s.(leaser), "me")
		if err != nil {
			t.Fatal(err)
		}
		unlock()
		unlock, err = leasing{renew: time.Millisecond, dead: time.Hour}.lock(t.Context(), s.(leaser), "me")
		if err != nil {
			t.Fatal(err)
		}
		first := stat(t, s, lockName)
		for stat(t, s, lockName).Equal(first) {
			continue // until it is renewed
		}
		unlock()
	}
}

func stat(t *testing.T, s store, name string) time.Time {
	t.Helper()
	blobs, err := s.List(t.Context(), name)
	if err != nil || len(blobs) != 1 {
		t.Fatalf("%+v (%v)", blobs, err)
	}
	return blobs[0].Time
}

// TestPlaces: what cannot be a place for backups is refused with its reason.
func TestPlaces(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "thesis.tex"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for dest, want := range map[string]string{"": "no place", full: "holds something else (thesis.tex)", "ftp://x/y": "ftp", "/proc/nowhere": "proc"} {
		if _, err := Open(context.Background(), dest, Keys{}, "", true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", dest, err)
		}
	}
	var none *NoBackupsError
	if _, err := Open(context.Background(), t.TempDir(), Keys{}, "", false); !errors.As(err, &none) {
		t.Errorf("an empty folder: %v", err)
	}
}
