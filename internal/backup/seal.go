package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

// Keys encrypt backups, and open them. The zero Keys do neither.
type Keys struct {
	recipients []age.Recipient
	identities []age.Identity
}

// ReadKeys reads age recipients ("age1…") and a file of identities
// ("AGE-SECRET-KEY-1…"). Either may be absent: recipients are needed to make
// encrypted backups, an identity to read them.
func ReadKeys(recipients []string, identityFile string) (Keys, error) {
	var k Keys
	for _, text := range recipients {
		rs, err := age.ParseRecipients(bytes.NewReader([]byte(text)))
		if err != nil {
			return k, fmt.Errorf("%q is not an age recipient: write one that age-keygen printed, age1…", text)
		}
		k.recipients = append(k.recipients, rs...)
	}
	if identityFile == "" {
		return k, nil
	}
	f, err := os.Open(identityFile)
	if err != nil {
		return k, fmt.Errorf("reading the identity for backups: %w", err)
	}
	defer f.Close()
	if k.identities, err = age.ParseIdentities(f); err != nil {
		// What the error quotes could be a secret.
		return k, fmt.Errorf("%s is not a file of age identities, as age-keygen writes it", identityFile)
	}
	return k, nil
}

// ErrLocked is the error of reading what is encrypted without its identity.
var ErrLocked = errors.New("it is encrypted; give the age identity that opens it (--identity FILE)")

// seal gives a writer whose content arrives at w, encrypted if there are
// recipients.
func (k Keys) seal(w io.Writer) (io.WriteCloser, error) {
	if len(k.recipients) == 0 {
		return nopCloser{w}, nil
	}
	return age.Encrypt(w, k.recipients...)
}

// open gives what seal was given.
func (k Keys) open(r io.Reader, encrypted bool) (io.Reader, error) {
	if !encrypted {
		return r, nil
	}
	if len(k.identities) == 0 {
		return nil, ErrLocked
	}
	plain, err := age.Decrypt(r, k.identities...)
	if errors.As(err, new(*age.NoIdentityMatchError)) {
		return nil, ErrLocked
	}
	return plain, err
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// counter counts and hashes what is written.
type counter struct {
	w   io.Writer
	n   int64
	sum hash.Hash
}

func newCounter(w io.Writer) *counter { return &counter{w: w, sum: sha256.New()} }

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.sum.Write(p[:n])
	return n, err
}

func (c *counter) digest() string { return hex.EncodeToString(c.sum.Sum(nil)) }

// sealed is a small blob: content under zstd, and that encrypted.
func (k Keys) sealed(content []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := k.seal(&out)
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	_, err = z.Write(content)
	if err = errors.Join(err, z.Close(), w.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// unsealed is the content of a small blob, of most bytes at most.
func (k Keys) unsealed(blob []byte, encrypted bool, most int64) ([]byte, error) {
	r, err := k.open(bytes.NewReader(blob), encrypted)
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(mostWindow))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	b, err := io.ReadAll(io.LimitReader(z, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("its content has more than %d bytes", most)
	}
	return b, err
}

// mostWindow bounds the memory of decompression, in bytes; this release writes
// with 8 MiB.
const mostWindow = 64 << 20
