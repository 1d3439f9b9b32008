package line

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var begin = time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)

// sim drives a line in virtual time.
type sim struct {
	fatalf  func(string, ...any)
	l       *Line
	now     time.Time
	every   time.Duration
	changes []Change
	entries []Entry
	state   []byte
	tags    map[string]Change
	cfg     Config
}

func newSim(t interface{ Fatalf(string, ...any) }, cfg Config) *sim {
	if cfg.Speed == 0 {
		cfg.Speed = 1
	}
	s := &sim{fatalf: t.Fatalf, l: New(cfg, begin), now: begin, every: 100 * time.Millisecond, tags: map[string]Change{}, cfg: cfg}
	if cfg.Paper {
		s.every = time.Second
	}
	s.take()
	return s
}

func (s *sim) take() {
	c, e, state := s.l.Take()
	for _, x := range c {
		s.tags[x.Tag] = x
	}
	s.changes, s.entries, s.state = append(s.changes, c...), append(s.entries, e...), state
}

func (s *sim) step() {
	s.now = s.now.Add(s.every)
	s.l.Step(s.now)
	s.take()
}

func (s *sim) write(part string, v any) {
	if !s.l.Write(s.cfg.Name+"."+part, v, s.now) {
		s.fatalf("%s is not writable", part)
	}
	s.take()
}

func (s *sim) get(part string) any { return s.tags[s.cfg.Name+"."+part].Value }

// until steps until f is true, at most for d of virtual time.
func (s *sim) until(what string, d time.Duration, f func() bool) {
	for end := s.now.Add(d); !f(); s.step() {
		if s.now.After(end) {
			s.fatalf("%s: not after %v; state %+v", what, d, s.l.State())
		}
	}
}

type download struct {
	no           string
	target       uint32
	fill, torque float64
}

func order(no string, target uint32) download { return download{no, target, 0.5, 17} }

// load makes the whole handshake and returns the error number, 0 when loaded.
func (s *sim) load(d download) int32 {
	s.write("Cmd.OrderNo", d.no)
	s.write("Cmd.Operation", "0010")
	s.write("Cmd.Material", "WATER-05")
	s.write("Cmd.Target", d.target)
	s.write("Cmd.FillVolume", d.fill)
	s.write("Cmd.CapTorque", d.torque)
	s.write("Cmd.Load", true)
	s.until("an answer to the download", time.Second, func() bool { return s.get("Cmd.Loaded") == true || s.get("Cmd.Refused") == true })
	code := s.get("Cmd.ErrNo").(int32)
	if (code == 0) != (s.get("Cmd.Loaded") == true) || (code != 0) != (s.get("Cmd.Refused") == true) {
		s.fatalf("contradiction: %v %v %v", s.get("Cmd.Loaded"), s.get("Cmd.Refused"), code)
	}
	s.write("Cmd.Load", false)
	s.until("the answer to go away", time.Second, func() bool { return s.get("Cmd.Loaded") == false && s.get("Cmd.Refused") == false })
	return code
}

func (s *sim) done() {
	s.until("the order to be done", 10*time.Minute, func() bool { return s.get("Order.Done") == true })
}

func (s *sim) ack(no string) {
	s.write("Order.AckNo", no)
	s.step()
	s.step()
}

func (s *sim) events(kind string) (out []Entry) {
	for _, e := range s.entries {
		if e.Event == kind {
			out = append(out, e)
		}
	}
	return out
}

func TestAnOrderRunsFromDownloadToAcknowledgement(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{Name: "L1", Seed: 7})
	if code := s.load(order("100", 80)); code != 0 {
		t.Fatalf("refused with %d", code)
	}
	s.done()
	took := s.now.Sub(begin)
	if took < 40*time.Second || took > 90*time.Second {
		t.Errorf("an order of 80 took %v", took)
	}
	done := s.events(OrderDone)[0]
	started := s.events(OrderStarted)[0]
	if *done.Good != 80 || s.get("Order.Good") != *done.Good || s.get("Order.Scrap") != *done.Scrap {
		t.Errorf("ledger %d, %d; tags %v, %v", *done.Good, *done.Scrap, s.get("Order.Good"), s.get("Order.Scrap"))
	}
	rolled := false
	var last uint16
	for _, c := range s.changes {
		if c.Tag == "L1.Cnt.Good" || c.Tag == "L1.Cnt.Scrap" || c.Tag == "L1.Order.Good" {
			if c.At != begin && (!c.At.After(started.At) || !c.At.Before(done.At)) {
				t.Errorf("%s counted at %v, the order ran from %v to %v", c.Tag, c.At, started.At, done.At)
			}
		}
		if c.Tag == "L1.Cnt.Good" {
			rolled = rolled || c.Value.(uint16) < last
			last = c.Value.(uint16)
		}
	}
	if !rolled {
		t.Error("the good counter did not roll over within the first order")
	}
	s.ack("100")
	if s.get("Order.No") != "" || s.get("Order.Done") != false || s.get("Order.Good") != uint32(0) {
		t.Errorf("block after the acknowledgement: %v %v %v", s.get("Order.No"), s.get("Order.Done"), s.get("Order.Good"))
	}
	if n := len(s.events(OrderAcked)); n != 1 {
		t.Errorf("%d acknowledgements in the ledger", n)
	}
}

func TestOnlyTheRunningOrdersNumberAcknowledges(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{Name: "L1", Seed: 1})
	s.load(order("1", 20))
	s.load(order("2", 20))
	s.until("order 1 to start", time.Minute, func() bool { return s.get("Order.No") == "1" })
	s.ack("1") // too early: not done
	if s.get("Order.No") != "1" || len(s.events(OrderAcked)) != 0 {
		t.Error("an order was acknowledged before it was done")
	}
	s.write("Order.AckNo", "0")
	s.done()
	for _, wrong := range []string{"2", "", "01", "1 "} {
		s.ack(wrong)
		if s.get("Order.Done") != true || s.get("Order.No") != "1" {
			t.Fatalf("acknowledged by %q", wrong)
		}
	}
	s.ack("1")
	s.until("order 2 to start", time.Minute, func() bool { return s.get("Order.No") == "2" })
	s.done() // Order.AckNo still says 1: a stale acknowledgement
	s.ack("1")
	if s.get("Order.No") != "2" || s.get("Order.Done") != true {
		t.Error("a stale acknowledgement had an effect")
	}
	s.ack("2")
	s.ack("2")
	if n := len(s.events(OrderAcked)); n != 2 {
		t.Errorf("%d acknowledgements in the ledger, want 2", n)
	}
}

func TestDownloadsAreRefusedWithAReason(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{Name: "L1", Seed: 3})
	for _, c := range []struct {
		name string
		d    download
		code int32
	}{
		{"empty number", order("", 10), ErrNoNumber},
		{"target 0", order("1", 0), ErrTarget},
		{"target too big", order("1", MaxTarget+1), ErrTarget},
		{"fill volume too small", download{"1", 10, 0.05, 17}, ErrRecipe},
		{"torque too big", download{"1", 10, 0.5, 25.1}, ErrRecipe},
		{"good", order("1", 20), 0},
	} {
		if got := s.load(c.d); got != c.code {
			t.Errorf("%s: %d, want %d", c.name, got, c.code)
		}
	}
	s.until("order 1 to start", time.Minute, func() bool { return s.get("Order.No") == "1" })
	for _, c := range []struct {
		name string
		d    download
		code int32
	}{
		{"the running order again", order("1", 20), 0},
		{"the next order", order("2", 20), 0},
		{"the waiting order again, with other data", order("2", 99), 0},
		{"a third order", order("3", 20), ErrNoSlot},
	} {
		if got := s.load(c.d); got != c.code {
			t.Errorf("%s: %d, want %d", c.name, got, c.code)
		}
	}
	s.done()
	if got := s.load(order("1", 20)); got != ErrProduced {
		t.Errorf("the done order again: %d", got)
	}
	s.ack("1")
	s.until("order 2 to start", time.Minute, func() bool { return s.get("Order.No") == "2" })
	if st := s.l.State(); st.Current.Target != 20 || st.Next != nil {
		t.Errorf("a repeated download changed the order: %+v, next %+v", st.Current, st.Next)
	}
	if got := s.load(order("1", 20)); got != ErrProduced {
		t.Errorf("the acknowledged order again: %d", got)
	}
	if n := len(s.events(OrderStarted)); n != 2 {
		t.Errorf("%d orders started, want 2", n)
	}
	loads := s.events(Download)
	repeated := 0
	for _, e := range loads {
		if e.Repeated {
			repeated++
		}
	}
	if repeated != 2 {
		t.Errorf("%d repeated downloads in the ledger, want 2", repeated)
	}
}

func TestTheAnswerToADownloadIsALevel(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{Name: "L1", Seed: 3})
	s.write("Cmd.OrderNo", "1")
	s.write("Cmd.Target", uint32(10))
	s.write("Cmd.FillVolume", 0.5)
	s.write("Cmd.CapTorque", 17.0)
	s.write("Cmd.Load", true)
	for range 50 {
		s.step()
	}
	if s.get("Cmd.Loaded") != true || len(s.events(Download)) != 1 {
		t.Errorf("loaded %v after %d downloads", s.get("Cmd.Loaded"), len(s.events(Download)))
	}
}

func TestTheStationWaitsForTheAcknowledgementOfItsSerial(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{Name: "L1", Seed: 11})
	s.load(order("1", 2000))
	ready := func() bool { return s.get("Cap.Ready") == true }
	s.until("the first result", time.Minute, ready)
	for range 100 { // 10 s without an acknowledgement
		s.step()
	}
	if n := len(s.events(Result)); n != 1 || s.get("Cap.Serial") != "L1-000001" {
		t.Fatalf("%d results, serial %v", n, s.get("Cap.Serial"))
	}
	s.write("Cap.AckSerial", "L1-000002")
	s.step()
	if !ready() {
		t.Fatal("acknowledged by another serial")
	}
	settled, bad := 0, 0
	for i := 1; i <= 40; i++ {
		at := s.now
		s.write("Cap.AckSerial", fmt.Sprintf("L1-%06d", i))
		s.until("ready to go", time.Second, func() bool { return !ready() })
		s.until("the next result", 3*time.Minute, ready)
		if s.now.Sub(at) < 0 {
			t.Fatal("time went back")
		}
		// The old serial may still show, and its old acknowledgement with it.
		if s.get("Cap.Serial") == fmt.Sprintf("L1-%06d", i) {
			settled++
		}
		want := fmt.Sprintf("L1-%06d", i+1)
		appeared := s.now
		s.until("the serial", time.Second, func() bool { return s.get("Cap.Serial") == want && ready() })
		if s.now.Sub(appeared) > 300*time.Millisecond {
			t.Errorf("serial %d came %v after ready", i+1, s.now.Sub(appeared))
		}
		s.step()
		s.step()
		s.step()
		if s.tags["L1.Cap.Torque"].Status == BadSensorFailure {
			bad++
		}
	}
	results := s.events(Result)
	for i, e := range results[1:] {
		if d := e.At.Sub(results[i].At); d < resultEvery-100*time.Millisecond {
			t.Errorf("result %d came %v after the one before", i+2, d)
		}
	}
	if settled == 0 || bad == 0 {
		t.Errorf("never saw a late serial (%d) or a bad torque (%d)", settled, bad)
	}
	if n := len(s.events(ResultAcked)); n != 40 {
		t.Errorf("%d results acknowledged", n)
	}
}

func TestThePaperLineWorksItsListAlone(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{Name: "L9", Seed: 5, Paper: true})
	for range 600 {
		s.step()
	}
	done := s.events(OrderDone)
	if len(done) < 10 {
		t.Fatalf("%d orders in 10 min", len(done))
	}
	for i, e := range done {
		if e.Order != fmt.Sprint(9_000_001+i) || *e.Good < 35 || *e.Good > 45 {
			t.Errorf("order %d is %s with %d", i, e.Order, *e.Good)
		}
	}
	// Between two orders done goes back first; the number changes seconds later.
	var back time.Time
	for _, c := range s.changes {
		switch {
		case c.Tag == "L9.Order.Done" && c.Value == false:
			back = c.At
		case c.Tag == "L9.Order.No" && c.Value != "" && c.Value != "9000001":
			if c.At.Sub(back) < 2*time.Second {
				t.Errorf("order %v began %v after done went back", c.Value, c.At.Sub(back))
			}
		}
	}
}

func TestStatesFollowPackML(t *testing.T) {
	t.Parallel()
	allowed := map[int32][]int32{
		Idle: {Starting}, Starting: {Execute}, Execute: {Suspended, Holding, Completing},
		Suspended: {Execute}, Holding: {Held}, Held: {Execute},
		Completing: {Complete}, Complete: {Resetting}, Resetting: {Idle},
	}
	s := newSim(t, Config{Name: "L1", Seed: 2})
	for i := range 12 {
		s.load(order(fmt.Sprint(i), 90))
		s.done()
		s.ack(fmt.Sprint(i))
	}
	seen := map[int32]bool{}
	last := Idle
	for _, c := range s.changes {
		if c.Tag != "L1.State" || c.Value == last {
			continue
		}
		next := c.Value.(int32)
		if !slices.Contains(allowed[last], next) {
			t.Errorf("%s after %s", StateName(next), StateName(last))
		}
		last, seen[next] = next, true
	}
	for state := range allowed {
		if !seen[state] && state != Idle {
			t.Errorf("never %s in 12 orders", StateName(state))
		}
	}
}

func TestSpeedIsSometimesBadOrUncertain(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{Name: "L1", Seed: 4})
	s.load(order("1", 1000))
	s.done()
	got := map[uint32]int{}
	for _, c := range s.changes {
		if c.Tag == "L1.Speed" {
			got[c.Status]++
			if (c.Value == nil) != (c.Status == BadSensorFailure) {
				t.Errorf("value %v with status %x", c.Value, c.Status)
			}
		}
	}
	if got[Good] == 0 || got[Uncertain] == 0 || got[BadSensorFailure] == 0 {
		t.Errorf("statuses %v", got)
	}
}

func TestARestoredLineGoesOnAsIfNothingHadHappened(t *testing.T) {
	t.Parallel()
	run := func(every int) ([]Change, []Entry) {
		s := newSim(t, Config{Name: "L1", Seed: 9})
		s.load(order("1", 40))
		s.load(order("2", 40))
		for i := range 1500 {
			if s.get("Order.Done") == true && s.get("Order.AckNo") != s.get("Order.No") {
				s.write("Order.AckNo", s.get("Order.No"))
			}
			s.step()
			if every > 0 && i%every == 0 {
				l, err := Restore(s.cfg, s.state, maps.Clone(s.tags), s.l.Produced())
				if err != nil {
					t.Fatal(err)
				}
				s.l = l
			}
		}
		return s.changes, s.entries
	}
	wantC, wantE := run(0)
	for _, every := range []int{1, 7} {
		gotC, gotE := run(every)
		if d := cmp.Diff(wantC, gotC); d != "" {
			t.Fatalf("restored every %d steps: %s", every, d)
		}
		if d := cmp.Diff(wantE, gotE); d != "" {
			t.Fatalf("restored every %d steps: %s", every, d)
		}
	}
	if len(wantE) < 6 {
		t.Errorf("only %d entries", len(wantE))
	}
}

func TestALineThatStoodStillMakesUpForNothing(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{Name: "L1", Seed: 9})
	s.load(order("1", 1000))
	s.until("bottles", time.Minute, func() bool { return s.get("Order.Good").(uint32) > 10 })
	before := s.get("Order.Good").(uint32)
	s.now = s.now.Add(time.Hour)
	s.l.Idled(s.now)
	s.step()
	s.step()
	if got := s.get("Order.Good").(uint32); got > before+2 {
		t.Errorf("%d bottles in 200 ms after an hour off", got-before)
	}
	if at := s.tags["L1.Cnt.Good"].At; at.After(begin.Add(time.Hour)) && at.Before(s.now.Add(-time.Minute)) {
		t.Errorf("counted at %v while off", at)
	}
}

// The books balance whatever clients write and however the scans fall.
func TestCountersTotalsAndLedgerAgreeUnderAnyUse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := newSim(rt, Config{Name: "L1", Seed: rapid.Uint64().Draw(rt, "seed"), Speed: rapid.SampledFrom([]float64{1, 5, 50}).Draw(rt, "speed")})
		first := s.l.State()
		numbers := []string{"", "A", "B", "C", "D"}
		for range rapid.IntRange(50, 400).Draw(rt, "actions") {
			switch rapid.IntRange(0, 12).Draw(rt, "action") {
			case 0:
				s.write("Cmd.OrderNo", rapid.SampledFrom(numbers).Draw(rt, "no"))
				s.write("Cmd.Target", rapid.SampledFrom([]uint32{0, 3, 25}).Draw(rt, "target"))
				s.write("Cmd.FillVolume", rapid.SampledFrom([]float64{0, 0.5}).Draw(rt, "fill"))
				s.write("Cmd.CapTorque", 17.0)
			case 1, 2:
				s.write("Cmd.Load", rapid.Bool().Draw(rt, "load"))
			case 3, 4:
				s.write("Order.AckNo", rapid.SampledFrom(numbers).Draw(rt, "ack"))
			case 5:
				s.write("Cap.AckSerial", fmt.Sprintf("L1-%06d", rapid.IntRange(0, 20).Draw(rt, "serial")))
			case 6:
				l, err := Restore(s.cfg, s.state, maps.Clone(s.tags), s.l.Produced())
				if err != nil {
					rt.Fatal(err)
				}
				s.l = l
			default:
				s.now = s.now.Add(time.Duration(rapid.IntRange(-50, 5000).Draw(rt, "ms")) * time.Millisecond)
				s.l.Step(s.now)
				s.take()
			}
		}
		checkBooks(rt, s, first)
	})
}

func checkBooks(rt *rapid.T, s *sim, first State) {
	var good, scrap uint32
	produced := map[string]bool{}
	var startedAt time.Time
	for _, e := range s.entries {
		switch e.Event {
		case OrderStarted:
			startedAt = e.At
		case OrderDone:
			if produced[e.Order] {
				rt.Fatalf("order %s was produced twice", e.Order)
			}
			if !e.At.After(startedAt) {
				rt.Fatalf("order %s was done at %v and started at %v", e.Order, e.At, startedAt)
			}
			produced[e.Order] = true
			good += *e.Good
			scrap += *e.Scrap
		}
	}
	if st := s.l.State(); !st.Done {
		good, scrap = good+st.OrderGood, scrap+st.OrderScrap
	}
	var gotGood, gotScrap uint32
	last := map[string]uint16{"L1.Cnt.Good": first.Good, "L1.Cnt.Scrap": first.Scrap}
	times := map[string]time.Time{}
	for _, c := range s.changes {
		if c.At.Before(times[c.Tag]) {
			rt.Fatalf("%s went back from %v to %v", c.Tag, times[c.Tag], c.At)
		}
		times[c.Tag] = c.At
		v, ok := c.Value.(uint16)
		if !ok || c.At == begin {
			continue
		}
		if c.Tag == "L1.Cnt.Good" {
			gotGood += uint32(v - last[c.Tag])
		} else {
			gotScrap += uint32(v - last[c.Tag])
		}
		last[c.Tag] = v
	}
	if gotGood != good || gotScrap != scrap {
		rt.Fatalf("counters say %d, %d; ledger and order say %d, %d", gotGood, gotScrap, good, scrap)
	}
}
