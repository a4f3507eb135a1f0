// Package hostile runs programs that attack the engine, through the whole of
// it: tests alone.
package hostile
