// Package untrusted reaches into folders that others write to: what a
// program works in, a checkpoint, the folder of a study that a stranger sent.
//
// Such a folder may change at any moment, on purpose: a folder becomes a link
// out of it between a look and an open. So a way into it begins with a handle
// on its root and goes on from handle to handle, one name at a time (openat(2)
// with O_NOFOLLOW), never through a link or "..". It ends at whatever is not
// what it should be. Only regular files are opened, and none is waited for.
package untrusted
