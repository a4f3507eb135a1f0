package maintenance_test

import (
	"testing"

	"go.uber.org/goleak"

	"ratchet/internal/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	goleak.VerifyTestMain(m)
}
