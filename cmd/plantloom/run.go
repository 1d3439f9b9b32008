package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/plantloom/plantloom/connectors"
	"github.com/plantloom/plantloom/gateway"
	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/pipeline/broker"
	"github.com/plantloom/plantloom/pipeline/run"
)

func runCommand() *cobra.Command {
	var dir, stateDir, logLevel, logFormat string
	var roles []string
	var isolate bool
	c := &cobra.Command{
		Use:   "run --config DIR",
		Short: "Run a plant: all roles together, or those named by --roles",
		Example: `  plantloom run --config examples/bottling-line
  plantloom run --config /etc/plantloom/plant --roles collect`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := logger(logLevel, logFormat)
			if err != nil {
				return err
			}
			var faults conf.Faults
			plant := run.Load(dir, connectors.All(), &faults)
			if err := show(c, &faults); err != nil {
				return err
			}
			if stateDir != "" {
				plant.File.StateDir = stateDir
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("finding the program's own file: %w", err)
			}
			return run.Run(c.Context(), run.Options{
				Plant: plant, Roles: roles, Isolate: isolate, Self: []string{self}, Version: version, Log: log, Now: time.Now,
				Serve: serve, Unsafe: os.Getenv("PLANTLOOM_UNSAFE_FOR_CRASH_LABORATORY") == "1",
			})
		},
	}
	c.Flags().StringVar(&dir, "config", ".", "plant directory with plant.yaml")
	c.Flags().StringVar(&stateDir, "state-dir", "", "directory for state, instead of state_dir in plant.yaml")
	c.Flags().StringSliceVar(&roles, "roles", run.Roles, "roles of this process: "+strings.Join(run.Roles, ", "))
	c.Flags().BoolVar(&isolate, "isolate", false, "run each role as a child process of its own")
	c.Flags().StringVar(&logLevel, "log-level", "info", "debug, info, warn or error")
	c.Flags().StringVar(&logFormat, "log-format", "text", "text or json")
	cobra.CheckErr(c.MarkFlagDirname("config"))
	cobra.CheckErr(c.RegisterFlagCompletionFunc("roles", cobra.FixedCompletions(run.Roles, cobra.ShellCompDirectiveNoFileComp)))
	return c
}

// serve hands the plant's API to the gateway.
func serve(ctx context.Context, s run.Serving) error {
	o := gateway.Options{
		HTTP: s.Plant.File.API.HTTP, GRPC: s.Plant.File.API.GRPC, Client: s.Client, Partitions: s.Plant.File.Kafka.Partitions,
		Local: s.Local, Report: s.Component, Version: s.Version, Namespace: s.Plant.File.Namespace, Log: s.Log, Now: s.Now,
	}
	for _, sink := range s.Plant.Sinks {
		o.Sinks = append(o.Sinks, sink.Name)
	}
	return gateway.Run(ctx, o)
}

// show prints the faults and fails with exit code 1 when one of them is an error.
func show(c *cobra.Command, faults *conf.Faults) error {
	if faults.Len() > 0 {
		if err := faults.Text(c.ErrOrStderr()); err != nil {
			return fmt.Errorf("printing the faults: %w", err)
		}
	}
	if faults.HasErrors() {
		return exitError{1}
	}
	return nil
}

func logger(level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %s is not known; use debug, info, warn or error", level)
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, o)), nil
	}
	return nil, fmt.Errorf("--log-format %s is not known; use text or json", format)
}

func brokerCommand() *cobra.Command {
	cfg := broker.DefaultConfig()
	var retain map[string]string
	c := &cobra.Command{
		Use:   "broker --dir DIR",
		Short: "Run the embedded Kafka-protocol broker for one box",
		Long: "Run the embedded Kafka-protocol broker for one box, durable on disk, on loopback.\n" +
			"`plantloom run` starts it by itself where plant.yaml says kafka: {embedded: true}.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := logger("info", "text")
			if err != nil {
				return err
			}
			cfg.Log, cfg.Now = log, time.Now
			for topic, age := range retain {
				d, err := time.ParseDuration(age)
				if err != nil {
					return fmt.Errorf("--retain %s=%s: %w", topic, age, err)
				}
				cfg.Retention = append(cfg.Retention, broker.Retention{Topics: topic, Age: d})
			}
			b, err := broker.Start(c.Context(), cfg)
			if err != nil {
				return err
			}
			<-c.Context().Done()
			return b.Close()
		},
	}
	c.Flags().StringVar(&cfg.Dir, "dir", filepath.Join("var", "broker"), "data directory")
	c.Flags().StringVar(&cfg.Listen, "listen", cfg.Listen, "loopback address")
	c.Flags().StringToStringVar(&retain, "retain", nil, "how long a topic's records are kept, TOPIC=AGE; others are kept for ever")
	c.Flags().BoolVar(&cfg.Fsync, "fsync", cfg.Fsync, "write to the disk before acknowledging")
	return c
}

func versionCommand() *cobra.Command {
	c := &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs}
	o := output(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := checkOutput(*o); err != nil {
			return err
		}
		info := buildInfo()
		if *o == "json" {
			return printJSON(c, info)
		}
		keys := make([]string, 0, len(info))
		for k := range info {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			fmt.Fprintf(c.OutOrStdout(), "%-10s %s\n", k, info[k])
		}
		return nil
	}
	return c
}
