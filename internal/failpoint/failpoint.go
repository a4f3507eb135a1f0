// Package failpoint lets crash tests kill the process at a named place.
//
// In an ordinary build Hit does nothing. In a build with the tag failpoints,
// RATCHET_FAILPOINT=name:n kills the process, as SIGKILL does, when it reaches
// the place of that name for the n-th time.
package failpoint
