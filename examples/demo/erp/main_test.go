package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBadCommandLinesSayWhatToDo(t *testing.T) {
	t.Setenv("DEMO_ERP_EMPTY", "")
	t.Setenv("DEMO_ERP_PASSWORD", "pw")
	dir := t.TempDir()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--state", dir}, "--password-env or --password-file"},
		{[]string{"--state", dir, "--password-env", "DEMO_ERP_EMPTY"}, "DEMO_ERP_EMPTY is empty"},
		{[]string{"--state", dir, "--password-env", "DEMO_ERP_PASSWORD", "--password-file", "x"}, "not both"},
		{[]string{"--state", dir, "--password-file", filepath.Join(dir, "none")}, "reading the password"},
		{[]string{"--password-env", "DEMO_ERP_PASSWORD"}, "give --state"},
		{[]string{"--state", dir, "--password-env", "DEMO_ERP_PASSWORD", "--listen", "0.0.0.0:0"}, "loopback only"},
		{[]string{"--state", dir, "--password-env", "DEMO_ERP_PASSWORD", "--fault-rate", "2"}, "not between 0 and 1"},
		{[]string{"--state", dir, "--password-env", "DEMO_ERP_PASSWORD", "--fault-kinds", "boom"}, "unknown fault"},
		{[]string{"--state", dir, "--password-env", "DEMO_ERP_PASSWORD", "--open", "0"}, "must be at least 1"},
		{[]string{"--state", dir, "--password-env", "DEMO_ERP_PASSWORD", "now"}, "unexpected argument"},
	} {
		if err := run(t.Context(), c.args, strings.NewReader(""), io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.args, err, c.want)
		}
	}
}

func TestItServesUnderABannerAndEndsWithItsParent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("pw\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stdin, parent := io.Pipe()
	lines, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		args := []string{"--listen", "127.0.0.1:0", "--state", filepath.Join(dir, "state"), "--password-file", password, "--stdin-guard"}
		done <- errors.Join(run(context.Background(), args, stdin, out), out.Close())
	}()
	var shown bytes.Buffer
	scanner := bufio.NewScanner(io.TeeReader(lines, &shown))
	if !scanner.Scan() || !strings.HasPrefix(scanner.Text(), "DEMO ERP (simulated") {
		t.Fatalf("no banner: %s", shown.String())
	}
	var url string
	if _, err := fmt.Sscanf(scanner.Text()[strings.Index(scanner.Text(), "http"):], "%s", &url); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("health is %d %v", resp.StatusCode, err)
	}
	if err := parent.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("after its parent's end: %v", err)
	}
}
