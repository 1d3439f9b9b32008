//go:build !unix

package run

import (
	"fmt"
	"os"
)

// lockState makes the state directory. Without flock a second process is only told by the fencing in Kafka (R6).
func lockState(dir string, _ []string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the state directory: %w", err)
	}
	return func() {}, nil
}
