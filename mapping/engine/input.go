package engine

import (
	"math"
	"strconv"
	"time"

	"github.com/plantloom/plantloom/mapping/formula"
	"github.com/plantloom/plantloom/pipeline"
)

// statusTypeMismatch is OPC UA's BadTypeMismatch: the tag gives another type than the mapping declares.
const statusTypeMismatch pipeline.Quality = 0x80740000

// inputState is what the engine knows of an input of one machine. Its values stand in the frame.
type inputState struct {
	cell  *cell
	good  formula.Slot // newest good value; OK is false before the first
	prev  formula.Slot // good value before it
	first formula.Slot // first good value ever

	// total counts what a counter counted since its first value. before is what it was, and goodBefore what the good
	// value was, in front of the instant changedAt: intervals end in front of their last instant.
	total, before        int64
	estimates, estBefore uint64 // steps that bridged a gap, a reset or a jump
	changedAt            int64
	goodBefore           formula.Slot
	status               pipeline.Quality // of the newest sample
	held                 bool             // the newest sample is bad and the last good value stands for it
	seenAt               int64
	newest               formula.Slot // the newest sample, good or not
	usable               bool         // it has a value of the declared type
}

// convert brings a tag's value to the declared type; false where it does not fit.
func convert(k formula.Kind, v pipeline.Value, s *formula.Slot) bool {
	switch k {
	case formula.Bool:
		switch v.Type() {
		case pipeline.TypeBool, pipeline.TypeInt, pipeline.TypeUint:
			s.SetBool(v.AsUint() != 0)
			return true
		}
	case formula.Int:
		i, ok := integerOf(v)
		s.SetInt(i)
		return ok
	case formula.Uint:
		if v.Type() == pipeline.TypeUint {
			s.SetUint(v.AsUint())
			return true
		}
		i, ok := integerOf(v)
		s.SetUint(uint64(i))
		return ok && i >= 0
	case formula.Float:
		switch v.Type() {
		case pipeline.TypeInt, pipeline.TypeUint, pipeline.TypeFloat, pipeline.TypeDouble:
			s.SetFloat(floatOf(v))
			return s.OK
		}
	case formula.Text:
		switch v.Type() {
		case pipeline.TypeText, pipeline.TypeJSON, pipeline.TypeInt, pipeline.TypeUint:
			s.SetText(v.String())
			return true
		}
	case formula.Time:
		s.SetInt(v.AsInt())
		return v.Type() == pipeline.TypeTime
	}
	return false
}

// integerOf is the exact integer of a number.
func integerOf(v pipeline.Value) (int64, bool) {
	switch v.Type() {
	case pipeline.TypeInt:
		return v.AsInt(), true
	case pipeline.TypeUint:
		return v.AsInt(), v.AsUint() <= math.MaxInt64
	case pipeline.TypeBool:
		return int64(v.AsUint()), true
	case pipeline.TypeFloat, pipeline.TypeDouble:
		x := v.AsDouble()
		return int64(x), x == math.Trunc(x) && math.Abs(x) < 1<<53
	}
	return 0, false
}

// floatOf widens a float32 by its decimal text, so that 0.1 stays 0.1.
func floatOf(v pipeline.Value) float64 {
	if v.Type() != pipeline.TypeFloat {
		return v.AsDouble()
	}
	x, err := strconv.ParseFloat(strconv.FormatFloat(v.AsDouble(), 'g', -1, 32), 64)
	if err != nil {
		return v.AsDouble()
	}
	return x
}

// take applies a sample to an input: the good value and its history, the counter, and what formulas see by the
// input's policy for bad values.
func (m *machine) take(i int, p *pending, out *Effects) {
	d, is := &m.p.inputs[i], &m.inputs[i]
	m.a.e.store.mark(is.cell)
	if is.changedAt != p.at { // the instant before this one ends here
		is.before, is.estBefore, is.goodBefore, is.changedAt = is.total, is.estimates, is.good, p.at
	}
	var v formula.Slot
	status := p.status
	usable := convert(d.kind, p.value, &v)
	if !usable && !p.value.IsNull() {
		status = status.Worse(statusTypeMismatch)
	}
	is.status, is.seenAt = status, p.at
	if usable && !status.IsBad() {
		v.OK, v.At, v.Status, v.Raw = true, p.at, status, status
		if is.good.OK {
			is.prev = is.good
			if d.counter != nil {
				m.count(d, is, int64(v.Bits), p.at, out)
			}
		} else {
			is.first = v
		}
		is.good, is.held = v, false
	} else {
		is.held = d.bad == BadHold
	}
	is.newest, is.usable = v, usable
	m.show(i, v, usable)
}

// show puts into the frame what formulas see of an input.
func (m *machine) show(i int, newest formula.Slot, usable bool) {
	d, is := &m.p.inputs[i], &m.inputs[i]
	slot := &m.frame.Slots[d.at(ofValue)]
	m.frame.Slots[d.at(ofPrev)] = is.prev
	switch {
	case usable && !is.status.IsBad():
		*slot = is.good
	case d.bad == BadHold && is.good.OK:
		*slot = is.good
		slot.Status = pipeline.UncertainLastUsable
	case d.bad == BadUse && usable:
		*slot = newest
		slot.OK, slot.Status = true, is.status
	default:
		slot.Clear()
		slot.Status = is.status.Worse(pipeline.Uncertain)
	}
	slot.Raw, slot.At = is.status, is.seenAt
	if is.held && is.good.OK {
		slot.At = is.good.At
	}
}

// count is one step of a counter from its last good value p to c, by the plausibility rules of the design: what the
// machine can have counted since decides between counting, roll-over, reset and a new base.
func (m *machine) count(d *inputDef, is *inputState, c, at int64, out *Effects) {
	k := d.counter
	if d.kind == formula.Uint && c < 0 {
		is.estimates++ // beyond int64: no step can be told
		return
	}
	p := int64(is.good.Bits)
	gap := at - is.good.At
	n, estimated := step(k, p, c, limit(d, gap), time.Duration(gap))
	is.total += n
	if estimated {
		is.estimates++
		out.Estimated++
	}
}

// limit is how much a machine can have counted in a time. Without a max_rate it is half of the counter's range.
func limit(d *inputDef, gap int64) float64 {
	if d.maxRate == 0 {
		return float64(d.counter.Max-d.counter.Min) / 2
	}
	return float64(d.maxRate*(float64(gap)/1e9)) + d.counter.Slack
}

// step says how many pieces lie between the counter values p and c, and whether that is an estimate.
func step(k *Counter, p, c int64, lim float64, gap time.Duration) (n int64, estimated bool) {
	if c < k.Min || c > k.Max || p < k.Min || p > k.Max {
		return 0, true // outside of the counter's range: a new base
	}
	if c >= p {
		if float64(c-p) <= lim {
			return c - p, false
		}
		return 0, true
	}
	over, reset := k.Max-p+c-k.Min+1, c-k.Min
	overFits, resetFits := float64(over) <= lim, float64(reset) <= lim && k.Resets != ResetsNever
	if gap > k.MaxGap && overFits && resetFits {
		if k.Ambiguous == "hold" {
			return 0, true
		}
		return min(over, reset), true
	}
	switch {
	case overFits:
		return over, gap > k.MaxGap
	case resetFits:
		return reset, true
	}
	return 0, true
}
