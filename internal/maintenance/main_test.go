package maintenance_test

import (
	"testing"

	"ratchet/internal/shim"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	shim.Main()
	goleak.VerifyTestMain(m)
}
