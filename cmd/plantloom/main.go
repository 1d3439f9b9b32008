// Command plantloom is integration middleware between the shop floor and the business systems: one binary with the
// roles collect, map, deliver and serve. Its commands are thin calls into the packages; nothing imports it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/plantloom/plantloom/internal/child"
)

// version is set by the linker.
var version = "dev"

// exitError ends the program with a code after everything that is to be said was said.
type exitError struct{ code int }

func (e exitError) Error() string { return fmt.Sprintf("exit %d", e.code) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if child.Supervised() {
		ctx = child.WatchStdin(ctx, os.Stdin)
	}
	err := command().ExecuteContext(ctx)
	var exit exitError
	switch {
	case err == nil:
	case errors.As(err, &exit):
		stop()
		os.Exit(exit.code) //nolint:gocritic // stop was called
	default:
		fmt.Fprintln(os.Stderr, "plantloom:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "plantloom",
		Short:         "Integration middleware between the shop floor and MES and ERP",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
	}
	root.AddCommand(runCommand(), validateCommand(), lintCommand(), testCommand(), brokerCommand(), statusCommand(), versionCommand())
	return root
}

// output is the flag -o of commands that scripts read.
func output(c *cobra.Command) *string {
	o := c.Flags().StringP("output", "o", "text", "text or json")
	cobra.CheckErr(c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)))
	return o
}

func checkOutput(o string) error {
	if o != "text" && o != "json" {
		return fmt.Errorf("-o %s is not known; use text or json", o)
	}
	return nil
}
