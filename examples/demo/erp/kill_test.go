package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plantloom/plantloom/examples/demo/erp/sim"
)

// childMark makes this test binary the demo ERP itself.
const childMark = "DEMO_ERP_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childMark) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// process is a demo ERP in a process of its own.
type process struct {
	cmd *exec.Cmd
	url string
}

func startProcess(t *testing.T, dir string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "--listen", "127.0.0.1:0", "--state", dir, "--password-env", "DEMO_ERP_PASSWORD",
		"--honour-key=false", "--max-run", "2ms", "--stdin-guard")
	cmd.Env = append(os.Environ(), childMark+"=1", "DEMO_ERP_PASSWORD=pw")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil { // held open: the child ends with us
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return &process{cmd: cmd, url: strings.TrimSpace(line[strings.Index(line, "http://"):])}
}

// post books one piece on an order and reports whether it was acknowledged.
func (p *process) post(t *testing.T, client *http.Client, order, id string) bool {
	body := fmt.Sprintf(`{"external_id":%q,"order":%q,"operation":"0010","work_center":"L1","yield":"1","scrap":"0","unit":"C62"}`, id, order)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url+"/api/confirmations", struct{ io.Reader }{strings.NewReader(body)})
	if err != nil {
		t.Error(err)
		return false
	}
	req.SetBasicAuth("plantloom", "pw")
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return err == nil && resp.StatusCode == http.StatusCreated
}

func (p *process) ledger(t *testing.T) sim.Ledger {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/demo/ledger", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out sim.Ledger
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

// load posts from three clients until the process is gone.
func (p *process) load(t *testing.T, prefix string, acknowledged func(id string)) *sync.WaitGroup {
	client := &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Second}
	clients := new(sync.WaitGroup)
	for c := range 3 {
		clients.Go(func() {
			for i := range 300 {
				id := fmt.Sprintf("%s-c%d-%d", prefix, c, i)
				if !p.post(t, client, "1000001", id) {
					return
				}
				acknowledged(id)
			}
		})
	}
	return clients
}

// TestWhatWasAnsweredSurvivesAKill posts from several clients, kills the
// process in the middle, and starts it again on its state: everything that was
// acknowledged is booked, and nothing twice.
func TestWhatWasAnsweredSurvivesAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	for round := range 4 {
		p := startProcess(t, dir)
		enough := make(chan struct{}, 1000)
		clients := p.load(t, fmt.Sprintf("r%d", round), func(id string) {
			mu.Lock()
			acknowledged[id] = true
			mu.Unlock()
			enough <- struct{}{}
		})
		for range 20 {
			<-enough
		}
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		clients.Wait()
		_ = p.cmd.Wait() // says that it was killed
	}
	p := startProcess(t, dir)
	booked := map[string]int{}
	ledger := p.ledger(t)
	for _, line := range ledger.Orders["1000001"].Partials {
		booked[line.ExternalID]++
	}
	for id := range acknowledged {
		if booked[id] != 1 {
			t.Errorf("%s was acknowledged and is booked %d times", id, booked[id])
		}
	}
	if sum := ledger.Orders["1000001"].SumYield; sum != fmt.Sprint(len(booked)) || len(ledger.Duplicates) != 0 || ledger.Starts != 5 {
		t.Errorf("sum %s of %d effects, duplicates %v, %d starts", sum, len(booked), ledger.Duplicates, ledger.Starts)
	}
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait()
}
