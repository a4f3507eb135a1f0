package untrusted

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
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

// Names are the names of files that can lie in one folder together. The zero value has
// none.
type Names struct{ files, folders map[string]bool }

// Add adds a name with slashes. false: it is there already, or is that of a folder of
// another, or another is that of one of its folders.
func (n *Names) Add(name string) bool {
	if n.files == nil {
		n.files, n.folders = map[string]bool{}, map[string]bool{}
	}
	if n.files[name] || n.folders[name] {
		return false
	}
	var folders []string
	for i, c := range name {
		if c == '/' {
			folders = append(folders, name[:i])
		}
	}
	if slices.ContainsFunc(folders, func(f string) bool { return n.files[f] }) {
		return false
	}
	n.files[name] = true
	for _, f := range folders {
		n.folders[f] = true
	}
	return true
}

// Has reports whether a file of that name was added.
func (n *Names) Has(name string) bool { return n.files[name] }
