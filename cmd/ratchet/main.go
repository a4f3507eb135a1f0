// Command ratchet runs studies. See `ratchet help`.
package main

import (
	"os"

	"ratchet"
)

func main() {
	ratchet.Main()
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
