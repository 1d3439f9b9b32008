package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
)

func statusCommand() *cobra.Command {
	var addr string
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what runs, what is stuck, and why",
		Long:  "Show what runs, what is stuck, and why. Exit code 0: ready; 1: not ready or not reachable.",
		Args:  cobra.NoArgs,
	}
	o := output(c)
	c.Flags().StringVar(&addr, "addr", "http://127.0.0.1:8480", "base address of the API")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := checkOutput(*o); err != nil {
			return err
		}
		body, err := fetchStatus(c.Context(), addr)
		if err != nil {
			return err
		}
		var s gatewayv1.GetStatusResponse
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, &s); err != nil {
			return fmt.Errorf("reading the answer of %s: %w", addr, err)
		}
		if *o == "json" {
			fmt.Fprintln(c.OutOrStdout(), string(body))
		} else {
			printStatus(c.OutOrStdout(), &s)
		}
		if !s.GetReady() {
			return exitError{1}
		}
		return nil
	}
	return c
}

func fetchStatus(ctx context.Context, addr string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, addr+"/v1/status", nil)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", addr, err)
	}
	client := &http.Client{}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("plantloom does not answer at %s (is the serve role running?): %w", addr, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", addr, err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s: %.200s", addr, res.Status, body)
	}
	return body, nil
}

func printStatus(w io.Writer, s *gatewayv1.GetStatusResponse) {
	state := "not ready"
	if s.GetReady() {
		state = "ready"
	}
	fmt.Fprintf(w, "plantloom %s, namespace %s: %s\n", s.GetVersion(), s.GetNamespace(), state)
	for _, c := range s.GetComponents() {
		fmt.Fprintf(w, "  %-20s %-9s %s\n", c.GetName(), stateName(c.GetState()), c.GetReason())
	}
	for _, h := range s.GetHeld() {
		fmt.Fprintf(w, "  held: %s %s since %s, %d waiting: %s\n", h.GetSink(), h.GetKey(), h.GetSince().AsTime().Format(time.RFC3339), h.GetWaiting(), h.GetReason())
	}
	if n := s.GetDeadLetters(); n > 0 {
		fmt.Fprintf(w, "  %d dead letters\n", n)
	}
}

func stateName(s gatewayv1.ComponentState) string {
	return map[gatewayv1.ComponentState]string{
		gatewayv1.ComponentState_COMPONENT_STATE_STARTING: "starting", gatewayv1.ComponentState_COMPONENT_STATE_RUNNING: "running",
		gatewayv1.ComponentState_COMPONENT_STATE_DEGRADED: "degraded", gatewayv1.ComponentState_COMPONENT_STATE_DOWN: "DOWN",
		gatewayv1.ComponentState_COMPONENT_STATE_STOPPED: "stopped",
	}[s]
}
