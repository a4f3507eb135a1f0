// Package clients has the official clients of the providers speak to the
// gateway, before a provider that follows a script. It is in this module so
// that their dependencies stay out of Ratchet's.
package clients
