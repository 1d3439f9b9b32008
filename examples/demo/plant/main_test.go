package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gopcua/opcua"
	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/examples/demo/plant/internal/line"
	"github.com/plantloom/plantloom/examples/demo/plant/internal/plant"
)

const patience = 60 * time.Second

// TestMain lets the test binary play the plant, so that it can be killed.
func TestMain(m *testing.M) {
	if os.Getenv("DEMO_PLANT_CHILD") == "1" {
		os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// child is a plant in a process of its own.
type child struct {
	*testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	url   string
	rest  *bytes.Buffer // standard output after the banner
	ended chan error
}

func launch(t *testing.T, dir string, args ...string) *child {
	t.Helper()
	c := &child{T: t, rest: &bytes.Buffer{}, ended: make(chan error, 1)}
	c.cmd = exec.Command(os.Args[0], append([]string{"--state", dir, "--listen", "127.0.0.1:0", "--lines", "1", "--speed", "40"}, args...)...)
	c.cmd.Env = append(os.Environ(), "DEMO_PLANT_CHILD=1")
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	r := bufio.NewReader(out)
	banner := ""
	for !strings.Contains(banner, "truth") {
		l, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("no banner: %v after %q", err, banner)
		}
		banner += l
	}
	if !strings.Contains(banner, "DEMO") {
		t.Errorf("banner without DEMO: %q", banner)
	}
	c.url = regexp.MustCompile(`opc\.tcp://\S+`).FindString(banner)
	go func() {
		_, _ = io.Copy(c.rest, r)
		c.ended <- c.cmd.Wait()
	}()
	return c
}

// kill ends the plant as a power failure would.
func (c *child) kill() {
	c.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		c.Fatal(err)
	}
	<-c.ended
}

// wait expects an orderly end within 2 s.
func (c *child) wait() {
	c.Helper()
	select {
	case err := <-c.ended:
		if err != nil {
			c.Errorf("ended with %v", err)
		}
	case <-time.After(2 * time.Second):
		c.Fatal("still running 2 s after it was told to end")
	}
}

// panel is a person with an OPC UA client.
type panel struct {
	*testing.T
	c  *opcua.Client
	ns uint16
}

func dial(t *testing.T, url string) *panel {
	t.Helper()
	c, err := opcua.NewClient(url, opcua.AutoReconnect(false), opcua.SecurityMode(ua.MessageSecurityModeNone))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
	ns, err := c.FindNamespace(t.Context(), plant.NamespaceURI)
	if err != nil {
		t.Fatal(err)
	}
	return &panel{t, c, ns}
}

func (p *panel) value(tag string) *ua.DataValue {
	p.Helper()
	res, err := p.c.Read(p.Context(), &ua.ReadRequest{TimestampsToReturn: ua.TimestampsToReturnBoth,
		NodesToRead: []*ua.ReadValueID{{NodeID: ua.NewStringNodeID(p.ns, tag), AttributeID: ua.AttributeIDValue}}})
	if err != nil {
		p.Fatal(err)
	}
	return res.Results[0]
}

func (p *panel) get(tag string) any { p.Helper(); return p.value(tag).Value.Value() }

func (p *panel) write(tag string, v any) {
	p.Helper()
	res, err := p.c.Write(p.Context(), &ua.WriteRequest{NodesToWrite: []*ua.WriteValue{{
		NodeID: ua.NewStringNodeID(p.ns, tag), AttributeID: ua.AttributeIDValue,
		Value: &ua.DataValue{EncodingMask: ua.DataValueValue, Value: ua.MustVariant(v)},
	}}})
	if err != nil || res.Results[0] != ua.StatusOK {
		p.Fatalf("writing %s: %v, %v", tag, res, err)
	}
}

func (p *panel) until(what string, f func() bool) {
	p.Helper()
	end := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-end:
			p.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

// download makes the handshake and returns the error number.
func (p *panel) download(no string, target uint32) int32 {
	p.Helper()
	p.write("L1.Cmd.Load", false)
	p.until("idle handshake", func() bool { return p.get("L1.Cmd.Loaded") == false && p.get("L1.Cmd.Refused") == false })
	p.write("L1.Cmd.OrderNo", no)
	p.write("L1.Cmd.Operation", "0010")
	p.write("L1.Cmd.Target", target)
	p.write("L1.Cmd.Material", "WATER-05")
	p.write("L1.Cmd.FillVolume", 0.5)
	p.write("L1.Cmd.CapTorque", 17.0)
	p.write("L1.Cmd.Load", true)
	p.until("an answer", func() bool { return p.get("L1.Cmd.Loaded") == true || p.get("L1.Cmd.Refused") == true })
	code := p.get("L1.Cmd.ErrNo").(int32)
	p.write("L1.Cmd.Load", false)
	return code
}

// totals waits until the order is done and returns what the block says.
func (p *panel) totals(no string) (good, scrap uint32) {
	p.Helper()
	p.until("order "+no+" done", func() bool {
		// A station that is never acknowledged stops showing results; be nice.
		if p.get("L1.Cap.Ready") == true {
			p.write("L1.Cap.AckSerial", p.get("L1.Cap.Serial"))
		}
		return p.get("L1.Order.Done") == true && p.get("L1.Order.No") == no
	})
	return p.get("L1.Order.Good").(uint32), p.get("L1.Order.Scrap").(uint32)
}

func (p *panel) history(tag string, from, to time.Time) (out []*ua.DataValue) {
	p.Helper()
	var point []byte
	for {
		res, err := p.c.HistoryReadRawModified(p.Context(), []*ua.HistoryReadValueID{{
			NodeID: ua.NewStringNodeID(p.ns, tag), DataEncoding: &ua.QualifiedName{}, ContinuationPoint: point,
		}}, &ua.ReadRawModifiedDetails{StartTime: from, EndTime: to})
		if err != nil {
			p.Fatal(err)
		}
		r := res.Results[0]
		if d, ok := r.HistoryData.Value.(*ua.HistoryData); ok {
			out = append(out, d.DataValues...)
		}
		if point = r.ContinuationPoint; len(point) == 0 {
			return out
		}
	}
}

func ledger(t *testing.T, dir string) (out []line.Entry) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, plant.LedgerFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") {
		var e line.Entry
		if err := json.Unmarshal([]byte(l), &e); err != nil {
			t.Fatalf("ledger line %q: %v", l, err)
		}
		out = append(out, e)
	}
	return out
}

func find(t *testing.T, entries []line.Entry, event, order string) line.Entry {
	t.Helper()
	var got []line.Entry
	for _, e := range entries {
		if e.Event == event && e.Order == order && e.Line == "L1" {
			got = append(got, e)
		}
	}
	if len(got) != 1 {
		t.Fatalf("%d entries %s of order %s", len(got), event, order)
	}
	return got[0]
}

func TestOrdersRunThroughKillsAndTheBooksAgree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := launch(t, dir)
	p := dial(t, c.url)
	good, scrap := map[string]uint32{}, map[string]uint32{}
	counted := p.get("L1.Cnt.Good").(uint16)
	total := uint32(0)
	for i := 1; i <= 6; i++ {
		no := fmt.Sprintf("10%02d", i)
		if code := p.download(no, 60); code != 0 {
			t.Fatalf("order %s refused with %d", no, code)
		}
		p.until("order "+no+" to run", func() bool { return p.get("L1.Order.No") == no && p.get("L1.Order.Good").(uint32) > 5 })
		if i%2 == 0 { // in the middle of the order
			at := p.value("L1.Order.No").SourceTimestamp
			c.kill()
			c = launch(t, dir)
			p = dial(t, c.url)
			if v := p.value("L1.Order.No"); v.Value.Value() != no || !v.SourceTimestamp.Equal(at) {
				t.Errorf("after the kill: order %v since %v, was %s since %v", v.Value.Value(), v.SourceTimestamp, no, at)
			}
			if code := p.download(no, 60); code != 0 {
				t.Errorf("the running order again: %d", code)
			}
		}
		good[no], scrap[no] = p.totals(no)
		if i%3 == 0 { // done, not acknowledged
			c.kill()
			c = launch(t, dir)
			p = dial(t, c.url)
			if g, s := p.totals(no); g != good[no] || s != scrap[no] {
				t.Errorf("totals of %s were %d, %d and are %d, %d", no, good[no], scrap[no], g, s)
			}
		}
		total += good[no]
		p.write("L1.Order.AckNo", no)
		p.until("the acknowledgement of "+no, func() bool { return p.get("L1.Order.No") == "" })
		if code := p.download(no, 60); code != line.ErrProduced {
			t.Errorf("order %s again: %d", no, code)
		}
	}
	if got := p.get("L1.Cnt.Good").(uint16); got != counted+uint16(total) {
		t.Errorf("the counter went from %d to %d, the orders say %d", counted, got, total)
	}
	entries := ledger(t, dir)
	for no := range good {
		done := find(t, entries, line.OrderDone, no)
		started := find(t, entries, line.OrderStarted, no)
		find(t, entries, line.OrderAcked, no)
		if *done.Good != good[no] || *done.Scrap != scrap[no] {
			t.Errorf("order %s: ledger %d, %d; shown %d, %d", no, *done.Good, *done.Scrap, good[no], scrap[no])
		}
		checkHistory(t, p, started.At, done)
	}
	checkStation(t, entries)
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.wait()
	if !strings.Contains(c.rest.String(), "DEMO plant stopped") {
		t.Errorf("last words: %q", c.rest.String())
	}
	checkHistorian(t, dir)
}

// checkHistory counts the order's bottles from the rolling counter's history,
// which spans the kills.
func checkHistory(t *testing.T, p *panel, from time.Time, done line.Entry) {
	t.Helper()
	all := p.history("L1.Cnt.Good", from.Add(-time.Hour), done.At)
	sum := uint32(0)
	for i, v := range all {
		if v.SourceTimestamp.After(from) && i > 0 {
			sum += uint32(v.Value.Value().(uint16) - all[i-1].Value.Value().(uint16))
		}
	}
	if sum != *done.Good {
		t.Errorf("order %s: history counts %d, ledger %d", done.Order, sum, *done.Good)
	}
}

func checkStation(t *testing.T, entries []line.Entry) {
	t.Helper()
	pending, results := "", 0
	for _, e := range entries {
		switch e.Event {
		case line.Result:
			if pending != "" {
				t.Errorf("result %s while %s was not acknowledged", e.Serial, pending)
			}
			pending = e.Serial
			results++
		case line.ResultAcked:
			if e.Serial != pending {
				t.Errorf("%s acknowledged, %q was pending", e.Serial, pending)
			}
			pending = ""
		}
	}
	if results < 6 {
		t.Errorf("only %d station results", results)
	}
}

// checkHistorian compares L9's rows with the ledger.
func checkHistorian(t *testing.T, dir string) {
	t.Helper()
	// What the last stop left unwritten comes with the next start.
	c := launch(t, dir)
	if err := c.stdin.Close(); err != nil { // no --stdin-guard: must not end
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "historian.sqlite")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for _, e := range ledger(t, dir) {
		if e.Line != "L9" || e.Event != line.OrderDone {
			continue
		}
		at := e.At.UnixMilli()
		(&panel{T: t}).until("done row of "+e.Order, func() bool {
			var n int
			q := `SELECT COUNT(*) FROM sqlt_data_1_` + e.At.Format("2006_01") + ` d JOIN sqlth_te t ON t.id = d.tagid WHERE t.tagpath = 'bottling/l9/done' AND d.intvalue = 1 AND d.t_stamp = ?`
			return db.QueryRow(q, at).Scan(&n) == nil && n == 1
		})
		if sum := countRows(t, db, e); sum != int64(*e.Good) {
			t.Errorf("order %s: historian counts %d, ledger %d", e.Order, sum, *e.Good)
		}
	}
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	c.wait()
}

// countRows adds up the rolling counter's rows between the order's number and
// its done bit.
func countRows(t *testing.T, db *sql.DB, e line.Entry) int64 {
	t.Helper()
	table := `sqlt_data_1_` + e.At.Format("2006_01") + ` d JOIN sqlth_te t ON t.id = d.tagid`
	var start int64
	if err := db.QueryRow(`SELECT d.t_stamp FROM `+table+` WHERE t.tagpath = 'bottling/l9/order_no' AND d.stringvalue = ?`, e.Order).Scan(&start); err != nil {
		t.Fatalf("order_no row of %s: %v", e.Order, err)
	}
	rows, err := db.Query(`SELECT d.intvalue, d.t_stamp FROM `+table+` WHERE t.tagpath = 'bottling/l9/good' AND d.t_stamp <= ? ORDER BY d.t_stamp`, e.At.UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var last, sum int64 = -1, 0
	for rows.Next() {
		var v, at int64
		if err := rows.Scan(&v, &at); err != nil {
			t.Fatal(err)
		}
		if last >= 0 && at > start {
			sum += (v - last + 65536) % 65536
		}
		last = v
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return sum
}

func TestThePlantEndsWhenStandardInputCloses(t *testing.T) {
	t.Parallel()
	c := launch(t, t.TempDir(), "--stdin-guard", "--historian-driver", "none")
	if err := c.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	c.wait()
}

func TestFlagsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "--state is missing"},
		{[]string{"--state", "x", "extra"}, `unexpected argument "extra"`},
		{[]string{"--state", "x", "--lines", "9"}, "use 1 to 8"},
		{[]string{"--state", "x", "--historian-driver", "postgres"}, "--historian is missing"},
		{[]string{"--state", "x", "--historian-driver", "none", "--historian", "y"}, "no meaning"},
		{[]string{"--state", t.TempDir(), "--speed", "0.01"}, "outside 0.1 to 200"},
		{[]string{"--state", t.TempDir(), "--historian-driver", "oracle", "--historian", "x"}, "use sqlite or postgres"},
		{[]string{"--nope"}, "not defined"},
	} {
		var out bytes.Buffer
		if code := run(c.args, strings.NewReader(""), io.Discard, &out); code == 0 || !strings.Contains(out.String(), c.want) {
			t.Errorf("%q: code %d, said %q", c.args, code, out.String())
		}
	}
}

func TestTheAddressInUseIsSaid(t *testing.T) {
	t.Parallel()
	c := launch(t, t.TempDir(), "--historian-driver", "none")
	addr := strings.TrimPrefix(c.url, "opc.tcp://")
	var out bytes.Buffer
	code := run([]string{"--state", t.TempDir(), "--listen", addr}, strings.NewReader(""), io.Discard, &out)
	if code != 1 || !strings.Contains(out.String(), "address already in use") {
		t.Errorf("code %d, said %q", code, out.String())
	}
	c.kill()
	if err := c.cmd.ProcessState; err.Success() {
		t.Error(errors.New("a killed plant ended well"))
	}
}
