package failure

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"syscall"

	"ratchet/internal/research"
)

// ClassOf is the class of an error of a store, an executor or any other part
// that is asked for something.
func ClassOf(err error) research.Class {
	var timeout net.Error
	switch {
	case err == nil:
		return research.Succeeded
	case is(err, syscall.ENOSPC, syscall.EDQUOT, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.EFBIG):
		return research.Resource
	case is(err, fs.ErrPermission, syscall.EROFS):
		return research.Auth
	case is(err, syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT, syscall.EHOSTUNREACH,
		syscall.ENETUNREACH, syscall.ESTALE, syscall.EIO, syscall.EINTR, syscall.EBUSY, io.ErrUnexpectedEOF, context.DeadlineExceeded):
		return research.Transient
	case errors.As(err, &timeout):
		return research.Transient
	}
	if p := recognise(err.Error()); p.id != "" {
		return p.class
	}
	return research.Internal
}

func is(err error, one ...error) bool {
	for _, a := range one {
		if errors.Is(err, a) {
			return true
		}
	}
	return false
}
