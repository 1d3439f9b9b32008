//go:build crashlab

package crashlab

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	full = flag.Bool("full", false, "50 kills in each arm instead of a few")
	seed = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the order and the times of kills")
	keep = flag.String("keep", "", "directory for logs and state, kept")
)

// R1 to R7 together: whatever is killed and whenever, every effect of the plant's truth is in the ERP once, in order.
func TestNothingIsLostOrDoubledWhateverIsKilled(t *testing.T) {
	kills := 8
	if *full {
		kills = 50
	}
	for _, honour := range []bool{true, false} {
		t.Run(fmt.Sprintf("the ERP honours the key %v", honour), func(t *testing.T) {
			lab := newLab(t, Lab{HonourKey: honour, FaultRate: 0.05, Orders: 4 + kills/6})
			run(t, lab, kills)
			lab.settle(t, 3*time.Minute)
			truth, books := lab.state(t, time.Minute)
			for _, d := range truth.Compare(books) {
				t.Error(d)
			}
			t.Logf("%d orders, %d results; requests %v; faults %v", len(truth.Orders), len(truth.Results), books.Requests, books.Faults)
			if len(truth.Orders) < 6 || len(truth.Results) < 10 {
				t.Errorf("only %d orders and %d results were made: the laboratory proved too little", len(truth.Orders), len(truth.Results))
			}
		})
	}
}

// The test of the test: with the cursor before the samples, no repeat filter and the commit before the effect, the
// same kills must leave the books wrong.
func TestTheBrokenModeIsNoticed(t *testing.T) {
	lab := newLab(t, Lab{HonourKey: false, FaultRate: 0.2, Orders: 4, Unsafe: true})
	run(t, lab, 8)
	lab.settle(t, 45*time.Second)
	truth, books := lab.state(t, 5*time.Second)
	diffs := truth.Compare(books)
	if len(diffs) == 0 {
		t.Fatal("the broken mode kept its books right: the laboratory would not notice a defect")
	}
	t.Logf("noticed, as it must be: %d differences, for example %s", len(diffs), diffs[0])
}

func newLab(t *testing.T, l Lab) *Lab {
	t.Helper()
	l.Dir = t.TempDir()
	if *keep != "" {
		l.Dir = filepath.Join(*keep, strings.NewReplacer("/", "-", " ", "-").Replace(t.Name()))
		if err := os.MkdirAll(l.Dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	l.Bin = bin
	if err := os.MkdirAll(filepath.Join(l.Dir, "plant"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := l.Prepare("../bottling-line"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		if t.Failed() {
			l.showLogs(t)
		}
	})
	for _, start := range []func() error{l.StartERP, l.StartPlant, l.StartPlantloom} {
		if err := start(); err != nil {
			t.Fatal(err)
		}
	}
	return &l
}

// run kills targets in turn and then at random, and stops and starts plant and ERP on the way.
func run(t *testing.T, l *Lab, kills int) {
	t.Helper()
	t.Logf("seed %d", *seed)
	rnd := rand.New(rand.NewPCG(*seed, 1))
	wait := func(atLeast, spread time.Duration) {
		select {
		case <-t.Context().Done():
		case <-time.After(atLeast + time.Duration(rnd.Int64N(int64(spread)))):
		}
	}
	wait(12*time.Second, 3*time.Second) // the first orders are on their way
	for k := 0; k < kills; k++ {
		target := Targets[k%len(Targets)]
		if k >= len(Targets) {
			target = Targets[rnd.IntN(len(Targets))]
		}
		for !l.Kill(target) {
			wait(200*time.Millisecond, 200*time.Millisecond)
		}
		t.Logf("killed %s", target)
		wait(1500*time.Millisecond, 4*time.Second)
		if k%8 == 4 {
			name, start := "plant", l.StartPlant
			if k%16 == 4 {
				name, start = "erp", l.StartERP
			}
			if err := l.Stop(name); err != nil {
				t.Fatal(err)
			}
			wait(500*time.Millisecond, 3*time.Second)
			if err := start(); err != nil {
				t.Fatal(err)
			}
			t.Logf("stopped and started the %s", name)
		}
	}
}

// settle waits for a quiet moment: every order of the lines with an order block is finished, and all but the newest
// orders of the old line, which never ends, have their final confirmation.
func (l *Lab) settle(t *testing.T, limit time.Duration) {
	t.Helper()
	deadline := time.Now().Add(limit)
	var waiting []string
	for calm := 0; calm < 3 && time.Now().Before(deadline); {
		time.Sleep(time.Second)
		truth, err := l.Truth()
		if err != nil {
			t.Fatal(err)
		}
		books, err := l.Books(t.Context())
		if err != nil {
			continue // the ERP is busy failing on purpose
		}
		calm++
		waiting = waiting[:0]
		for _, m := range append(truth.Missing(books), truth.Started...) {
			if o := truth.Orders[strings.TrimPrefix(m, "order ")]; o.Line == "L9" && time.Since(o.DoneAt) < time.Minute || strings.HasPrefix(m, "9") {
				continue
			}
			waiting = append(waiting, m)
			calm = 0
		}
	}
	if len(waiting) > 0 {
		t.Logf("the plant did not come to rest; waiting for %v", waiting)
	}
}

// state stops the plant, so that nothing new is made, gives the pipeline time to deliver what there is, and reads both
// ledgers.
func (l *Lab) state(t *testing.T, patience time.Duration) (*Truth, *Books) {
	t.Helper()
	if err := l.Stop("plant"); err != nil {
		t.Fatal(err)
	}
	truth, err := l.Truth()
	if err != nil {
		t.Fatal(err)
	}
	var books *Books
	for deadline := time.Now().Add(patience); ; time.Sleep(500 * time.Millisecond) {
		books, err = l.Books(context.Background())
		if err == nil && len(truth.Missing(books)) == 0 || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return truth, books
}

func (l *Lab) showLogs(t *testing.T) {
	for _, name := range []string{"plantloom", "erp", "plant"} {
		b, err := os.ReadFile(filepath.Join(l.Dir, name+".log"))
		if err != nil {
			continue
		}
		if len(b) > 6000 {
			b = b[len(b)-6000:]
		}
		t.Logf("--- end of %s.log\n%s", name, b)
	}
}
