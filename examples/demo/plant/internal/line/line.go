package line

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Error numbers of a refused download (Cmd.ErrNo).
const (
	ErrNoNumber  int32 = 1 // order number empty
	ErrNoSlot    int32 = 2 // one order runs or is unacknowledged, another waits
	ErrProduced  int32 = 3 // the order was produced already
	ErrTarget    int32 = 4 // target 0 or above MaxTarget
	ErrRecipe    int32 = 5 // fill volume or cap torque out of range
	MaxTarget          = 100_000
	MinFill            = 0.1 // l
	MaxFill            = 2.0
	MinCapTorque       = 10.0 // [lbf_av].[in_i]
	MaxCapTorque       = 25.0
)

// Status codes of OPC UA that the model gives its values.
const (
	Good             uint32 = 0
	BadSensorFailure uint32 = 0x808C0000
	Uncertain        uint32 = 0x40000000
)

// Config is what does not change while a line lives.
type Config struct {
	// Name is "L1"; tags are called "L1.State" and so on.
	Name string
	// Seed makes the line's chance; the line's name is mixed in.
	Seed uint64
	// Speed divides every duration. 1 is the pace for watching.
	Speed float64
	// Paper makes a line without download and acknowledgement that works a
	// list of paper orders on its own.
	Paper bool
}

// Change is a new value of one tag.
type Change struct {
	Tag    string
	Value  any // nil with a Bad status: no value
	Status uint32
	At     time.Time
}

// Order is the order in the block or the one that waits.
type Order struct {
	No, Operation, Material string
	Target                  uint32
	Fill, Torque            float64 // l, [lbf_av].[in_i]
}

// State is everything that a PLC keeps over a power failure. It is complete
// together with the tags' current values and the produced orders.
type State struct {
	Now     time.Time // of the newest step; no later step is earlier
	Phase   int32
	Until   time.Time `json:",omitzero"` // end of a phase with a duration
	Current *Order    `json:",omitempty"`
	Next    *Order    `json:",omitempty"`

	Good, Scrap uint16 // rolling
	OrderGood   uint32
	OrderScrap  uint32
	Done        bool
	Reject      float64   // share of rejects of this order
	CountAt     time.Time // next count
	SpeedAt     time.Time // next look at the speed
	Counted     time.Time `json:",omitzero"` // up to when bottles are counted
	Carry       float64   // part of a bottle
	PaperNo     uint32    // newest order of the paper list
	Station     Station   `json:",omitzero"`
	Rand        []byte    // generator
}

// Line is one line. It is used by one goroutine.
type Line struct {
	cfg      Config
	s        State
	rng      *rand.Rand
	pcg      *rand.PCG
	tags     map[string]Change
	produced map[string]bool

	changes []Change
	entries []Entry
}

// New returns a line that begins its life at now, with its first changes
// pending for Take.
func New(cfg Config, now time.Time) *Line {
	seed := cfg.Seed
	for _, c := range cfg.Name {
		seed = seed*1099511628211 + uint64(c)
	}
	pcg := rand.NewPCG(seed, 0x706c616e74)
	l := &Line{cfg: cfg, pcg: pcg, rng: rand.New(pcg), tags: map[string]Change{}, produced: map[string]bool{}}
	now = now.UTC().Truncate(time.Millisecond)
	l.s = State{Now: now, Phase: Idle, PaperNo: 9_000_000, CountAt: now, SpeedAt: now}
	// Both counters roll over within the first order.
	l.s.Good = 65_480 + uint16(l.rng.IntN(40))
	l.s.Scrap = 65_535
	for _, d := range Defs(cfg.Name) {
		l.set(d.part, d.Zero, Good)
	}
	l.show()
	l.store()
	return l
}

// Restore returns a line as it was: its state as Take returned it, the newest
// value of each of its tags and the numbers of the orders it has produced.
func Restore(cfg Config, state []byte, tags map[string]Change, produced []string) (*Line, error) {
	l := &Line{cfg: cfg, tags: map[string]Change{}, produced: map[string]bool{}, pcg: &rand.PCG{}}
	if err := json.Unmarshal(state, &l.s); err != nil {
		return nil, fmt.Errorf("restoring line %s: %w", cfg.Name, err)
	}
	if err := l.pcg.UnmarshalBinary(l.s.Rand); err != nil {
		return nil, fmt.Errorf("restoring line %s: %w", cfg.Name, err)
	}
	l.rng = rand.New(l.pcg)
	for _, d := range Defs(cfg.Name) {
		c, ok := tags[d.Name]
		if !ok {
			return nil, fmt.Errorf("restoring line %s: no value of %s", cfg.Name, d.Name)
		}
		l.tags[d.part] = c
	}
	for _, no := range produced {
		l.produced[no] = true
	}
	return l, nil
}

// Idled tells the line that it stood still until now: what it was doing goes
// on where it stopped.
func (l *Line) Idled(now time.Time) {
	now = now.UTC().Truncate(time.Millisecond)
	d := now.Sub(l.s.Now)
	if d <= 0 {
		return
	}
	st := &l.s.Station
	for _, t := range []*time.Time{&l.s.Until, &l.s.CountAt, &l.s.SpeedAt, &l.s.Counted, &st.NextAt, &st.SerialAt, &st.TorqueAt} {
		if !t.IsZero() {
			*t = t.Add(d)
		}
	}
	l.s.Now = now
}

// Name returns the line's name.
func (l *Line) Name() string { return l.cfg.Name }

// State returns a copy of the state.
func (l *Line) State() State { return l.s }

// Produced lists the orders that the line has completed, sorted.
func (l *Line) Produced() []string {
	out := make([]string, 0, len(l.produced))
	for no := range l.produced {
		out = append(out, no)
	}
	slices.Sort(out)
	return out
}

// Take returns what happened since the last Take, and the state after it.
func (l *Line) Take() (changes []Change, entries []Entry, state []byte) {
	changes, entries = l.changes, l.entries
	l.changes, l.entries = nil, nil
	l.store()
	state, err := json.Marshal(l.s)
	if err != nil {
		panic(err) // the state holds nothing that cannot be encoded
	}
	return changes, entries, state
}

func (l *Line) store() {
	b, err := l.pcg.MarshalBinary()
	if err != nil {
		panic(err) // math/rand/v2 documents that it never fails
	}
	l.s.Rand = b
}

// set changes a tag if value or status differ.
func (l *Line) set(part string, value any, status uint32) {
	old, ok := l.tags[part]
	if ok && old.Value == value && old.Status == status {
		return
	}
	c := Change{Tag: l.cfg.Name + "." + part, Value: value, Status: status, At: l.s.Now}
	l.tags[part] = c
	l.changes = append(l.changes, c)
}

func (l *Line) text(part string) string {
	s, _ := l.tags[part].Value.(string)
	return s
}

func (l *Line) flag(part string) bool {
	b, _ := l.tags[part].Value.(bool)
	return b
}

func (l *Line) real(part string) float64 {
	f, _ := l.tags[part].Value.(float64)
	return f
}

// show writes the state to the tags.
func (l *Line) show() {
	l.set("Cnt.Good", l.s.Good, Good)
	l.set("Cnt.Scrap", l.s.Scrap, Good)
	no, op := "", ""
	if l.s.Current != nil {
		no, op = l.s.Current.No, l.s.Current.Operation
	}
	l.set("Order.Operation", op, Good)
	l.set("Order.Good", l.s.OrderGood, Good)
	l.set("Order.Scrap", l.s.OrderScrap, Good)
	l.set("Order.No", no, Good)
	l.set("Order.Done", l.s.Done, Good)
	l.set("State", l.s.Phase, Good)
}

// in returns the time d of plant time from now.
func (l *Line) in(d time.Duration) time.Time {
	return l.s.Now.Add(time.Duration(float64(d) / l.cfg.Speed))
}

// next returns the next multiple of the plant time d: all lines count in the
// same scans, so that one write to disk serves them all.
func (l *Line) next(d time.Duration) time.Time {
	d = max(time.Duration(float64(d)/l.cfg.Speed), time.Millisecond)
	return l.s.Now.Truncate(d).Add(d)
}

// between draws a duration.
func (l *Line) between(low, high time.Duration) time.Duration {
	return low + time.Duration(l.rng.Float64()*float64(high-low))
}

// Write takes a value that a client wrote to one of the line's writable tags.
// It reports false when there is no such tag.
func (l *Line) Write(tag string, value any, now time.Time) bool {
	for _, d := range Defs(l.cfg.Name) {
		if d.Name != tag || !d.Writable {
			continue
		}
		l.advance(now)
		l.set(d.part, value, Good)
		return true
	}
	return false
}

// advance moves the line's clock in whole milliseconds. It never stands still or
// goes back, so that what happens in one step is strictly later than what
// happened before.
func (l *Line) advance(now time.Time) {
	now = now.UTC().Truncate(time.Millisecond)
	if least := l.s.Now.Add(time.Millisecond); now.Before(least) {
		now = least
	}
	l.s.Now = now
}
