// Package planted has bugs that are put in on purpose, so that the simulation
// can prove that it finds such bugs. They are there only in binaries built
// with the tag planted, which no release is built with.
package planted
