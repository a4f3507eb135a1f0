//go:build !linux

package demo

import "errors"

func mountSmall(string) error { return errors.New("it needs Linux") }

func unmount(string) {}
