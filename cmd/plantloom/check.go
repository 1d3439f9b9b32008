package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/plantloom/plantloom/connectors"
	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/mapping"
	"github.com/plantloom/plantloom/mapping/maptest"
	"github.com/plantloom/plantloom/pipeline/run"
)

func validateCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "validate --config DIR",
		Short: "Check a whole plant directory: configuration, tag lists and mappings; all faults in one pass",
		Args:  cobra.NoArgs,
	}
	o := output(c)
	c.Flags().StringVar(&dir, "config", ".", "plant directory with plant.yaml")
	cobra.CheckErr(c.MarkFlagDirname("config"))
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := checkOutput(*o); err != nil {
			return err
		}
		var faults conf.Faults
		plant := run.Load(dir, connectors.All(), &faults)
		return report(c, *o, &faults, fmt.Sprintf("%s: %d sources, %d sinks, no faults", dir, len(plant.Sources), len(plant.Sinks)))
	}
	return c
}

func lintCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "lint [PATH...]",
		Short: "Check mapping files; all faults in one pass, each with its line and column",
		Long: "Check mapping files and directories of them. Exit code 0: no fault; 1: faults; 2: the command itself failed.\n" +
			"`plantloom validate` checks a whole plant directory with its connections and tag lists.",
	}
	o := output(c)
	c.Flags().StringVar(o, "format", "text", "the same as --output")
	c.RunE = func(c *cobra.Command, paths []string) error {
		if err := checkOutput(*o); err != nil {
			return err
		}
		if len(paths) == 0 {
			paths = []string{"."}
		}
		var faults conf.Faults
		paths, err := mapping.Expand(paths)
		if err != nil {
			return err
		}
		n := 0
		for _, p := range paths {
			n += len(mapping.LintPath(p, nil, &faults).Mappings)
		}
		return report(c, *o, &faults, fmt.Sprintf("%d mapping files, no faults", n))
	}
	return c
}

func testCommand() *cobra.Command {
	var pattern, junit string
	c := &cobra.Command{
		Use:   "test [PATH...]",
		Short: "Run the tests inside mapping files, in virtual time",
		Long: "Run the tests inside mapping files in virtual time, each three ways: plain, with a restart after every step,\n" +
			"and with arrival shuffled within the lateness. Exit code 0: all passed; 1: a test failed.",
	}
	o := output(c)
	c.Flags().StringVar(&pattern, "run", "", "run only tests whose name matches this regular expression")
	c.Flags().StringVar(&junit, "junit", "", "also write the results to this file as JUnit XML")
	c.RunE = func(c *cobra.Command, paths []string) error {
		if err := checkOutput(*o); err != nil {
			return err
		}
		var opt maptest.Options
		if pattern != "" {
			re, err := regexp.Compile(pattern)
			if err != nil {
				return fmt.Errorf("--run %s: %w", pattern, err)
			}
			opt.Run = re
		}
		if len(paths) == 0 {
			paths = []string{"."}
		}
		return reportTests(c, maptest.Run(paths, opt), *o, junit)
	}
	return c
}

func reportTests(c *cobra.Command, rep *maptest.Report, format, junit string) error {
	if err := show(c, rep.Faults); err != nil {
		return err
	}
	if junit != "" {
		f, err := os.Create(junit)
		if err != nil {
			return fmt.Errorf("writing the results: %w", err)
		}
		if err := errors.Join(rep.JUnit(f), f.Close()); err != nil {
			return fmt.Errorf("writing the results: %w", err)
		}
	}
	if format == "json" {
		if err := printJSON(c, rep.Cases); err != nil {
			return err
		}
	} else if err := rep.Text(c.OutOrStdout()); err != nil {
		return err
	}
	if !rep.OK() {
		return exitError{1}
	}
	return nil
}

// report prints faults as text or JSON, or ok when there are none.
func report(c *cobra.Command, format string, faults *conf.Faults, ok string) error {
	if format == "json" {
		if err := printJSON(c, faults); err != nil {
			return err
		}
	} else if err := faults.Text(c.OutOrStdout()); err != nil {
		return err
	}
	if faults.HasErrors() {
		return exitError{1}
	}
	if format == "text" {
		fmt.Fprintln(c.OutOrStdout(), ok)
	}
	return nil
}

func printJSON(c *cobra.Command, v any) error {
	e := json.NewEncoder(c.OutOrStdout())
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func buildInfo() map[string]string {
	info := map[string]string{"version": version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, s := range b.Settings {
			if s.Key == "vcs.revision" || s.Key == "vcs.time" {
				info[s.Key[len("vcs."):]] = s.Value
			}
		}
	}
	return info
}
