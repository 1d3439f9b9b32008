//go:build !unix

package main

import "errors"

// used returns what this process has used so far.
func used() (usage, error) {
	return usage{}, errors.New("CPU time is measured by getrusage: run the benchmark on a Unix system")
}
