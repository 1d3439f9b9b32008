package line

import (
	"strconv"
	"time"
)

// Durations of plant time at speed 1.
const (
	countEvery = 500 * time.Millisecond
	speedEvery = time.Second

	bottlesPerMinute = 120.0
	microStopEvery   = 25 * time.Second // mean time between
	stopEvery        = 120 * time.Second
)

// Step is one scan of the PLC at the given time.
func (l *Line) Step(now time.Time) {
	l.advance(now)
	if !l.cfg.Paper {
		l.handshake()
		l.acknowledge()
	}
	l.phase()
	l.station()
	l.speed()
	l.show()
}

// phase makes at most one transition of the state machine, so that every phase
// lasts at least one scan.
func (l *Line) phase() {
	over := !l.s.Now.Before(l.s.Until)
	switch l.s.Phase {
	case Idle:
		l.begin(over)
	case Starting:
		if over {
			l.enter(Execute, 0)
			l.s.CountAt, l.s.Counted, l.s.Carry = l.next(countEvery), l.s.Now, 0
		}
	case Execute:
		l.run()
	case Suspended, Held:
		if over {
			l.enter(Execute, 0)
			l.s.Counted, l.s.CountAt = l.s.Now, l.next(countEvery)
		}
	case Holding:
		if over {
			l.enter(Held, l.between(3*time.Second, 7*time.Second))
		}
	case Completing:
		if over {
			l.finish()
		}
	case Complete:
		if l.cfg.Paper && over {
			// The operator takes the sheet away: done goes back, the number stays.
			l.s.Done = false
			l.enter(Resetting, l.between(2*time.Second, 4*time.Second))
		}
	case Resetting:
		if over {
			l.enter(Idle, 0)
		}
	}
}

// enter changes the phase; d is how long it lasts in plant time.
func (l *Line) enter(phase int32, d time.Duration) {
	l.s.Phase, l.s.Until = phase, l.in(d)
}

// begin starts the order that waits.
func (l *Line) begin(over bool) {
	if l.cfg.Paper && over {
		l.s.PaperNo++
		l.s.Next = &Order{
			No: strconv.FormatUint(uint64(l.s.PaperNo), 10), Operation: "0010", Material: "WATER-05",
			Target: 35 + uint32(l.rng.IntN(11)), Fill: 0.5, Torque: 17,
		}
	}
	if l.s.Next == nil {
		return
	}
	l.s.Current, l.s.Next = l.s.Next, nil
	l.s.OrderGood, l.s.OrderScrap, l.s.Done = 0, 0, false
	l.s.Reject = 0.02 + 0.02*l.rng.Float64()
	l.record(Entry{Event: OrderStarted, Material: l.s.Current.Material, Target: l.s.Current.Target}, l.s.Current)
	l.enter(Starting, l.between(3*time.Second, 5*time.Second))
}

// run counts bottles and sometimes stops.
func (l *Line) run() {
	if l.s.Now.Before(l.s.CountAt) {
		return
	}
	elapsed := l.s.Now.Sub(l.s.Counted)
	l.count(elapsed)
	l.s.Counted, l.s.CountAt = l.s.Now, l.next(countEvery)
	// plant time that passed
	passed := float64(elapsed) * l.cfg.Speed
	switch chance := l.rng.Float64(); {
	case l.s.OrderGood >= l.s.Current.Target:
		l.enter(Completing, l.between(1200*time.Millisecond, 2*time.Second))
	case chance < passed/float64(microStopEvery):
		l.enter(Suspended, l.between(800*time.Millisecond, 2*time.Second))
	case chance < passed/float64(microStopEvery)+passed/float64(stopEvery):
		l.enter(Holding, 500*time.Millisecond)
	}
}

// count makes the bottles of an interval, at most a minute's worth: a program
// that was suspended does not make up for it.
func (l *Line) count(elapsed time.Duration) {
	minutes := min(elapsed.Minutes()*l.cfg.Speed, 1)
	l.s.Carry += minutes * bottlesPerMinute * (0.95 + 0.1*l.rng.Float64())
	for ; l.s.Carry >= 1 && l.s.OrderGood < l.s.Current.Target; l.s.Carry-- {
		if l.rng.Float64() < l.s.Reject {
			l.s.Scrap++ // rolls over
			l.s.OrderScrap++
		} else {
			l.s.Good++ // rolls over
			l.s.OrderGood++
		}
	}
}

// finish makes the totals final. It runs in a later scan than the last count.
func (l *Line) finish() {
	l.s.Done = true
	l.produced[l.s.Current.No] = true
	good, scrap := l.s.OrderGood, l.s.OrderScrap
	l.record(Entry{Event: OrderDone, Good: &good, Scrap: &scrap}, l.s.Current)
	l.enter(Complete, l.between(2*time.Second, 4*time.Second))
}

// acknowledge ends the order when it is acknowledged by its number. Anything
// else in Order.AckNo has no effect.
func (l *Line) acknowledge() {
	if l.s.Phase != Complete || !l.s.Done || l.text("Order.AckNo") != l.s.Current.No {
		return
	}
	l.record(Entry{Event: OrderAcked}, l.s.Current)
	l.s.Done, l.s.Current, l.s.OrderGood, l.s.OrderScrap = false, nil, 0, 0
	l.enter(Resetting, time.Second)
}

// handshake answers Cmd.Load: Loaded or Refused while it is true, neither
// while it is false.
func (l *Line) handshake() {
	answered := l.flag("Cmd.Loaded") || l.flag("Cmd.Refused")
	switch load := l.flag("Cmd.Load"); {
	case load && !answered:
		l.load()
	case !load && answered:
		l.set("Cmd.Loaded", false, Good)
		l.set("Cmd.Refused", false, Good)
		l.set("Cmd.ErrNo", int32(0), Good)
	}
}

// load takes the download block as it stands.
func (l *Line) load() {
	target, _ := l.tags["Cmd.Target"].Value.(uint32)
	o := &Order{
		No: l.text("Cmd.OrderNo"), Operation: l.text("Cmd.Operation"), Material: l.text("Cmd.Material"),
		Target: target, Fill: l.real("Cmd.FillVolume"), Torque: l.real("Cmd.CapTorque"),
	}
	e := Entry{Event: Download, Material: o.Material, Target: o.Target, FillSet: o.Fill, TorqueSet: o.Torque}
	e.Repeated = l.has(o.No)
	if !e.Repeated {
		e.ErrNo = l.check(o)
	}
	if e.ErrNo != 0 {
		e.Outcome = "refused"
		l.set("Cmd.ErrNo", e.ErrNo, Good)
		l.set("Cmd.Refused", true, Good)
	} else {
		e.Outcome = "loaded"
		if !e.Repeated {
			l.s.Next = o
		}
		l.set("Cmd.Loaded", true, Good)
	}
	l.record(e, o)
}

// has tells whether the order waits or runs.
func (l *Line) has(no string) bool {
	return no != "" && (l.s.Next != nil && l.s.Next.No == no || l.s.Current != nil && l.s.Current.No == no && !l.s.Done)
}

// check returns why an order cannot be loaded, 0 when it can.
func (l *Line) check(o *Order) int32 {
	inside := func(v, low, high float64) bool { return v >= low && v <= high } // false for NaN
	switch {
	case o.No == "":
		return ErrNoNumber
	case l.produced[o.No]:
		return ErrProduced
	case o.Target == 0 || o.Target > MaxTarget:
		return ErrTarget
	case !inside(o.Fill, MinFill, MaxFill) || !inside(o.Torque, MinCapTorque, MaxCapTorque):
		return ErrRecipe
	case l.s.Next != nil:
		return ErrNoSlot
	}
	return 0
}

// speed shows the pace, at times with a failing sensor.
func (l *Line) speed() {
	if l.s.Now.Before(l.s.SpeedAt) {
		return
	}
	l.s.SpeedAt = l.next(speedEvery)
	if l.s.Phase != Execute {
		l.set("Speed", 0.0, Good)
		return
	}
	pace := bottlesPerMinute * (0.95 + 0.1*l.rng.Float64())
	pace = float64(int(pace*10)) / 10
	switch chance := l.rng.Float64(); {
	case chance < 0.02:
		l.set("Speed", nil, BadSensorFailure)
	case chance < 0.05:
		l.set("Speed", pace, Uncertain)
	default:
		l.set("Speed", pace, Good)
	}
}
