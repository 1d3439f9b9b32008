package uaserver_test

import (
	"io"
	"log"
	"os"
	"testing"
)

// TestMain silences the library, which logs the import of the standard nodes.
func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	os.Exit(m.Run())
}
