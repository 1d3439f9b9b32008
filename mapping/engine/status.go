package engine

import (
	"strconv"
	"time"

	"github.com/plantloom/plantloom/mapping/formula"
	"github.com/plantloom/plantloom/pipeline"
)

// MachineStatus is what people see of a machine.
type MachineStatus struct {
	Mapping, Machine, Asset string
	Values                  []Reading         // newest of each input, in the order of the file
	Contexts                map[string]string // values that hold now, by name; without those not known
	Unbooked                map[string]string // counts that an if refused, by rule/input; without zeros
	Queued                  int               // samples in front of the watermark
	Settling                int               // triggers whose values settle or are waited for
	Waiting                 int               // writes whose result is to come
}

// Reading is the newest value of an input.
type Reading struct {
	Input, Tag string
	Value      pipeline.Value // the last good one where the newest is bad and held
	Quality    pipeline.Quality
	At         time.Time // zero: never seen
}

// Status returns what an asset's machines know now, in the order in which they were bound.
func (e *Engine) Status(path string) (list []MachineStatus) {
	a := e.assets[path]
	if a == nil {
		return nil
	}
	for _, m := range a.machines {
		list = append(list, m.status())
	}
	return list
}

func (m *machine) status() MachineStatus {
	s := MachineStatus{
		Mapping: m.p.name, Machine: m.def.Name, Asset: m.def.Asset, Queued: len(m.queue),
		Contexts: map[string]string{}, Unbooked: map[string]string{},
	}
	for i := range m.p.inputs {
		d, slot := &m.p.inputs[i], &m.frame.Slots[m.p.inputs[i].at(ofValue)]
		r := Reading{Input: d.name, Tag: m.def.Inputs[d.name], Value: slot.Value(d.kind), Quality: slot.Raw}
		if slot.At != 0 {
			r.At = timeOf(slot.At)
		}
		s.Values = append(s.Values, r)
	}
	for _, c := range m.p.context {
		if slot := &m.frame.Slots[c.slot]; slot.OK {
			s.Contexts[c.name] = slot.Value(c.kind).String()
		}
	}
	for i, d := range m.p.rules {
		rs := &m.rules[i]
		s.Waiting += len(rs.waits)
		s.Settling += len(rs.due)
		if rs.waiting != nil {
			s.Settling++
		}
		for in, u := range rs.unbooked {
			switch {
			case m.p.inputs[in].kind == formula.Float && u.real != 0:
				s.Unbooked[d.name+"/"+m.p.inputs[in].name] = strconv.FormatFloat(u.real, 'f', -1, 64)
			case u.whole != 0:
				s.Unbooked[d.name+"/"+m.p.inputs[in].name] = strconv.FormatInt(u.whole, 10)
			}
		}
	}
	return s
}
