package history

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"

	"github.com/fxamacker/cbor/v2"
	"github.com/klauspost/compress/zstd"

	"ratchet/internal/home"
	"ratchet/internal/journal"
	"ratchet/internal/research"
)

// Folded states are kept beside the journal (see kept.go), so that a long one
// need not be folded from its beginning. What is kept of a state are frames, each
// a length in four bytes, big-endian, and that many bytes of CBOR under zstd: the
// state without its experiments, then experiments, some thousand a frame.

// stateForm is the form of these files. It changes with State.
const stateForm = 4

// stateBody is the first frame.
type stateBody struct {
	State research.State
	Open  []string
}

const (
	// cacheEvery is how many records at least lie between two states that are
	// kept; of a long journal a twentieth, so that keeping them costs little.
	cacheEvery = 1000
	cacheShare = 20
	mostCached = 4    // newest states that are kept
	perFrame   = 4096 // experiments
)

// decodeCBOR allows for as many experiments as a study may have.
var decodeCBOR = sync.OnceValues(func() (cbor.DecMode, error) {
	return cbor.DecOptions{MaxArrayElements: 1 << 30, MaxMapPairs: 1 << 20}.DecMode()
})

// StateFolder is where the states of a run are kept.
func (h *History) StateFolder(run string) string {
	return filepath.Join(h.home.RunFolder(run), "states")
}

// cachedSeqs are the positions whose states are kept, the newest first.
func (h *History) cachedSeqs(run string) []int64 {
	if h.home.Folder == "" {
		return nil
	}
	entries, err := os.ReadDir(h.StateFolder(run))
	if err != nil {
		return nil
	}
	var out []int64
	for _, entry := range entries {
		if n, err := strconv.ParseInt(entry.Name(), 10, 64); err == nil {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	slices.Reverse(out)
	return out
}

// cached is the newest kept state at a position that is wanted; a state
// without events if there is none.
func (h *History) cached(ctx context.Context, run string, wanted func(seq int64) bool) (*research.State, journal.Head) {
	for _, seq := range h.cachedSeqs(run) {
		if !wanted(seq) {
			continue
		}
		s, head, err := h.readState(ctx, run, seq)
		if err == nil {
			return s, head
		}
		// It has no use any more; whether it goes or stays harms nothing.
		_ = os.Remove(filepath.Join(h.StateFolder(run), strconv.FormatInt(seq, 10)))
	}
	return research.New(), journal.Head{}
}

func (h *History) readState(ctx context.Context, run string, seq int64) (*research.State, journal.Head, error) {
	body, head, err := h.readKept(ctx, journal.Of(run), stateForm, filepath.Join(h.StateFolder(run), strconv.FormatInt(seq, 10)))
	if err != nil {
		return nil, head, err
	}
	if head.Seq != seq {
		return nil, head, errStale
	}
	s, err := decodeState(body)
	if err == nil && s.Seq != seq {
		err = fmt.Errorf("it is of record %d", s.Seq)
	}
	return s, head, err
}

// KeepState keeps a state if it is far enough from those that are kept. It is
// an optimisation for the next fold: a failure to write it is no error.
func (h *History) KeepState(run string, s *research.State, head journal.Head) {
	if h.home.Folder == "" {
		return
	}
	seqs := h.cachedSeqs(run)
	if len(seqs) > 0 && s.Seq-seqs[0] < max(cacheEvery, s.Seq/cacheShare) || s.Seq < cacheEvery {
		return
	}
	if h.writeState(run, s, head) != nil {
		return
	}
	for _, seq := range seqs[min(len(seqs), mostCached-1):] {
		_ = os.Remove(filepath.Join(h.StateFolder(run), strconv.FormatInt(seq, 10)))
	}
}

func (h *History) writeState(run string, s *research.State, head journal.Head) error {
	body, err := encodeState(s)
	if err != nil {
		return err
	}
	return writeKept(filepath.Join(h.StateFolder(run), strconv.FormatInt(s.Seq, 10)), keptHeader{stateForm, home.Release, run, head.Seq, head.Hash}, body)
}

func encodeState(s *research.State) ([]byte, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(1<<19), zstd.WithLowerEncoderMem(true)) // an engine has little memory
	if err != nil {
		return nil, err
	}
	defer enc.Close()
	rest := *s
	rest.Experiments, rest.Open = nil, nil
	frames := []any{stateBody{rest, s.OpenTrials()}}
	for batch := range slices.Chunk(s.Experiments, perFrame) {
		frames = append(frames, batch)
	}
	var out []byte
	mode, err := cbor.EncOptions{Time: cbor.TimeRFC3339Nano}.EncMode()
	if err != nil {
		return nil, err
	}
	for _, f := range frames {
		b, err := mode.Marshal(f)
		if err != nil {
			return nil, err
		}
		packed := enc.EncodeAll(b, nil)
		out = binary.BigEndian.AppendUint32(out, uint32(len(packed)))
		out = append(out, packed...)
	}
	return out, nil
}

// decodeState reads the frames, as many at a time as there are processors.
func decodeState(b []byte) (*research.State, error) {
	mode, err := decodeCBOR()
	if err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(1<<32))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	var frames [][]byte
	for len(b) > 0 {
		if len(b) < 4 || uint64(len(b)-4) < uint64(binary.BigEndian.Uint32(b)) {
			return nil, errors.New("it ends in the middle of a frame")
		}
		n := binary.BigEndian.Uint32(b)
		frames, b = append(frames, b[4:4+n]), b[4+n:]
	}
	if len(frames) == 0 {
		return nil, errors.New("it is empty")
	}
	var body stateBody
	batches := make([][]*research.Experiment, len(frames)-1)
	errs := make([]error, len(frames))
	next := make(chan int)
	var all sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(frames)) {
		all.Go(func() {
			for i := range next {
				var to any = &body
				if i > 0 {
					to = &batches[i-1]
				}
				var plain []byte
				if plain, errs[i] = dec.DecodeAll(frames[i], nil); errs[i] == nil {
					errs[i] = mode.Unmarshal(plain, to)
				}
			}
		})
	}
	for i := range frames {
		next <- i
	}
	close(next)
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	s := &body.State
	s.Experiments = slices.Concat(batches...)
	return s, s.Restored(body.Open)
}

// KeptDigests are the digests of the states that are kept at a timeline's records,
// by record. What cannot be used is damaged.
func (h *History) KeptDigests(ctx context.Context, run string, spans []research.Span, damaged func(string, ...any)) map[int64]string {
	out := map[int64]string{}
	for _, seq := range h.cachedSeqs(run) {
		s, _, err := h.readState(ctx, run, seq)
		switch {
		case errors.Is(err, errStale), errors.Is(err, fs.ErrNotExist):
		case err != nil:
			damaged("run %s, the kept state of record %d: %v; it is not used", run, seq, err)
		case counts(spans, seq):
			out[seq] = s.Digest()
		}
	}
	return out
}

// DropDamaged removes the kept states of a run that are damaged, and returns
// the records that they were of.
func (h *History) DropDamaged(ctx context.Context, run string) (dropped []int64, err error) {
	for _, seq := range h.cachedSeqs(run) {
		if _, _, err := h.readState(ctx, run, seq); err != nil && !errors.Is(err, errStale) {
			if err := os.Remove(filepath.Join(h.StateFolder(run), strconv.FormatInt(seq, 10))); err != nil {
				return dropped, err
			}
			dropped = append(dropped, seq)
		}
	}
	return dropped, nil
}
