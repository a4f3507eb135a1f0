//go:build !planted

package planted

// Bug reports whether a bug is in; here none ever is, and what depends on it
// is not compiled.
func Bug(string) bool { return false }
