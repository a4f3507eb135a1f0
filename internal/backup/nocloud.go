//go:build nocloud

package backup

import (
	"context"
	"fmt"
)

// A binary without the clients of object stores is half as large.

func openGCS(ctx context.Context, dest string) (store, error) { return openBucket(ctx, dest) }

func openBucket(_ context.Context, dest string) (store, error) {
	return nil, fmt.Errorf("this binary was built without object stores (-tags nocloud): %s cannot be opened; name a folder", dest)
}
