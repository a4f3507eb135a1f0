package untrusted

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// mostName is the longest name that Name lets be, in bytes: file systems take
// 255, and callers add to it.
const mostName = 150

// plain are the bytes of names that mean nothing to a file system, to a shell
// or to a terminal.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

// Name is the name of a file for something that a record, a backup or another
// document names: the name itself if it is plain, and a digest of it if not. A
// name like ../x leads nowhere.
func Name(s string) string {
	if PlainName(s) {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return "name-" + hex.EncodeToString(sum[:16])
}

// PlainName reports whether a name can be that of a file as it is.
func PlainName(s string) bool {
	return s != "" && len(s) <= mostName && s[0] != '.' && s[0] != '-' && strings.Trim(s, plain) == ""
}
