package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"plantloom": func() {
		err := command().ExecuteContext(context.Background())
		var exit exitError
		switch {
		case errors.As(err, &exit):
			os.Exit(exit.code)
		case err != nil:
			fmt.Fprintln(os.Stderr, "plantloom:", err)
			os.Exit(1)
		}
	}})
}

func TestCommands(t *testing.T) {
	t.Parallel()
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Setup: func(e *testscript.Env) error {
		e.Setenv("EXAMPLES", examples)
		return nil
	}})
}
