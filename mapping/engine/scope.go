package engine

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	"github.com/plantloom/plantloom/mapping/formula"
)

// scope is what the formulas of one place may name: a rule's trigger, or its body.
type scope struct {
	c        *compiler
	lets     []Let // visible, the nearest last
	use      sources
	received bool // e and old
	outcome  bool // outcome, code, message
	instant  bool // there is no interval: no delta, no changed
	noWait   bool // the rule cannot wait for a good value
	all      bool // a let of the whole mapping: whatever a rule may have
	quiet    bool
	told     map[string]bool       // lets whose faults are reported
	memo     map[int]*formula.Expr // lets that are lowered
}

// compile checks a formula in this scope.
func (s *scope) compile(src Source) *formula.Expr {
	return formula.Compile(src.Text, s.env(src))
}

func (s *scope) env(src Source) *formula.Env {
	return &formula.Env{
		Lookup: s.lookup, Names: s.names, Columns: s.column, ColumnNames: s.columnNames(), Tables: s.c.tables,
		EventTime: slotEventTime, Use: s.used, Hint: elsewhere,
		Report: func(f formula.Fault) {
			if !s.quiet {
				s.c.fault(place(src, f.Offset), f.Code, f.Near, f.Hint, "%s", f.Message)
			}
		},
	}
}

func (s *scope) lookup(name string) *formula.Symbol {
	for i := len(s.lets) - 1; i >= 0; i-- {
		if s.lets[i].Name.Text == name {
			return s.let(i)
		}
	}
	if i := s.c.input(name); i >= 0 {
		d := &s.c.p.inputs[i]
		s.c.read[name] = true
		return &formula.Symbol{
			Name: name, Kind: d.kind, Slot: d.at(ofValue), Unit: d.unit, Input: true,
			Prev: d.at(ofPrev), Delta: d.at(ofDelta), Changed: d.at(ofChanged),
		}
	}
	for _, d := range s.c.p.context {
		if d.name == name {
			return &formula.Symbol{Name: name, Kind: d.kind, Slot: d.slot, Context: true}
		}
	}
	return s.special(name)
}

// let lowers a let where it is used first, so that what it reads belongs to its user.
func (s *scope) let(i int) *formula.Symbol {
	l := s.lets[i]
	if e, ok := s.memo[i]; ok {
		return &formula.Symbol{Name: l.Name.Text, Let: e}
	}
	inner := *s
	inner.lets = s.lets[:i]
	inner.quiet = s.quiet || s.told[l.Name.Text]
	e := inner.compile(l.Formula)
	s.use = inner.use
	s.memo[i] = e
	return &formula.Symbol{Name: l.Name.Text, Let: e}
}

func (s *scope) special(name string) *formula.Symbol {
	switch name {
	case "event_time":
		return &formula.Symbol{Name: name, Kind: formula.Time, Slot: slotEventTime}
	case "operation":
		s.c.p.operates = true
		return &formula.Symbol{Name: name, Object: operationType("operation", objectOperation)}
	case "e":
		if s.received || s.all {
			return &formula.Symbol{Name: name, Object: operationType("e", objectE)}
		}
	case "old":
		if s.received || s.all {
			return &formula.Symbol{Name: name, Object: operationType("old", objectOld)}
		}
	case "outcome":
		if s.outcome || s.all {
			return &formula.Symbol{Name: name, Kind: formula.Text, Slot: slotOutcome}
		}
	case "code":
		if s.outcome || s.all {
			return &formula.Symbol{Name: name, Kind: formula.Text, Slot: slotCode}
		}
	case "message":
		if s.outcome || s.all {
			return &formula.Symbol{Name: name, Kind: formula.Text, Slot: slotMessage}
		}
	}
	return nil
}

// elsewhere says where a name is known that is not known everywhere.
func elsewhere(name string) string {
	switch name {
	case "e", "old":
		return "only a rule with receive: has it"
	case "outcome", "code", "message":
		return "only the event of a rule with write: has it"
	}
	return ""
}

// operationType is how formulas see an operation: its own fields, id for short, and its order. The order's message
// stands in the next object of the frame.
func operationType(name string, slot int) *formula.ObjectType {
	var op *eventv1.Operation
	var order *eventv1.ProductionOrder
	desc := func(m protoreflect.ProtoMessage) protoreflect.MessageDescriptor { return m.ProtoReflect().Descriptor() }
	return &formula.ObjectType{
		Name: name, Desc: desc(op), Slot: slot, Alias: map[string]string{"id": "operation_id"},
		Objects: map[string]*formula.ObjectType{"order": {Name: name + ".order", Desc: desc(order), Slot: slot + 1}},
	}
}

func (s *scope) names() (names []string) {
	names = s.c.inputNames()
	for _, d := range s.c.p.context {
		names = append(names, d.name)
	}
	for _, l := range s.lets {
		names = append(names, l.Name.Text)
	}
	for _, name := range []string{"event_time", "operation", "e", "old", "outcome", "code", "message"} {
		if s.special(name) != nil {
			names = append(names, name)
		}
	}
	return append(names, "m")
}

func (s *scope) columnNames() (names []string) {
	for _, d := range s.c.p.columns {
		names = append(names, d.name)
	}
	return names
}

func (s *scope) column(name string) *formula.Symbol {
	for _, d := range s.c.p.columns {
		if d.name == name {
			return &formula.Symbol{Name: name, Kind: d.kind, Slot: d.slot}
		}
	}
	return nil
}

// used notes what a formula reads, and says why it cannot.
func (s *scope) used(function string, x *formula.Symbol) string {
	if x.Context {
		i := slices.IndexFunc(s.c.p.context, func(d contextDef) bool { return d.name == x.Name })
		s.use.contexts = with(s.use.contexts, i)
		return ""
	}
	i := s.c.input(x.Name)
	switch function {
	case "delta", "changed":
		if s.instant {
			return fmt.Sprintf("%q has no interval here: use it in if: or set:", function)
		}
		if function == "delta" {
			s.use.deltas = with(s.use.deltas, i)
		} else {
			s.use.changes = with(s.use.changes, i)
		}
	case "":
		if s.c.p.inputs[i].bad == BadWait && s.noWait {
			return fmt.Sprintf("%q waits for good values, and this rule cannot wait: only when: and on: can", x.Name)
		}
		s.use.inputs = with(s.use.inputs, i)
	default:
		s.use.asked = with(s.use.asked, i)
	}
	return ""
}

// and is what two scopes read.
func (u sources) and(o sources) sources {
	join := func(a, b []int) []int {
		for _, i := range b {
			a = with(a, i)
		}
		slices.Sort(a)
		return a
	}
	return sources{
		inputs: join(u.inputs, o.inputs), contexts: join(u.contexts, o.contexts), deltas: join(u.deltas, o.deltas),
		changes: join(u.changes, o.changes), asked: join(u.asked, o.asked),
	}
}

func with(list []int, i int) []int {
	if slices.Contains(list, i) {
		return list
	}
	return append(slices.Clip(list), i)
}
