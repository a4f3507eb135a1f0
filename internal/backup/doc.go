// Package backup keeps copies of journals and objects in a folder or a bucket:
// incremental, compressed, encrypted if so wished, and verified.
//
// What lies there, and how a stranger would read it, is in docs/backup.md.
package backup
