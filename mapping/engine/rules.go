package engine

import (
	"slices"
	"strconv"
	"strings"

	"github.com/plantloom/plantloom/internal/nearest"
	"github.com/plantloom/plantloom/mapping/formula"
)

func (c *compiler) rule(i int, r *Rule) *ruleDef {
	d := &ruleDef{index: i, name: r.Name.Text, on: -1, settle: r.Settle.Nanoseconds(), expires: r.Expires.Nanoseconds()}
	c.trigger(r, d)
	c.ruleLets(r, d)
	// What a rule decides at its firing cannot know the outcome of its writes; what it emits can.
	firing, body := c.scope(r, d), c.scope(r, d)
	body.outcome = len(r.Write) > 0
	if r.If != nil {
		d.cond = c.condition(firing, *r.If, "if")
	}
	d.writes, d.shake = c.assigns(firing, r.Write), c.handshake(r)
	if r.Emit != nil {
		d.message = c.message(body, r)
		if r.Key != nil {
			d.key = c.key(body, *r.Key)
		}
	}
	d.acks = c.assigns(body, r.Ack)
	d.use = firing.use.and(body.use)
	for _, in := range d.use.inputs {
		if c.p.inputs[in].bad == BadWait {
			d.waits = append(d.waits, in)
		}
	}
	return d
}

// scope is the scope of a rule's body. The faults of the rule's own lets were told by ruleLets.
func (c *compiler) scope(r *Rule, d *ruleDef) *scope {
	s := &scope{
		c: c, received: d.trigger == byReceive, noWait: d.trigger == byEvery || d.trigger == byReceive,
		lets: append(slices.Clip(c.spec.Lets), r.Let...), memo: map[int]*formula.Expr{}, told: map[string]bool{},
	}
	for name, fine := range c.shared {
		s.told[name] = !fine
	}
	for _, l := range r.Let {
		s.told[l.Name.Text] = true
	}
	return s
}

// ruleLets checks the lets of a rule, used or not.
func (c *compiler) ruleLets(r *Rule, d *ruleDef) {
	seen := map[string]bool{}
	for i, l := range r.Let {
		if seen[l.Name.Text] {
			c.fault(place(l.Name, 0), "DUPLICATE_NAME", "", "", "let %q stands twice", l.Name.Text)
		}
		seen[l.Name.Text] = true
		s := c.scope(r, d)
		s.outcome, s.lets = len(r.Write) > 0, s.lets[:len(c.spec.Lets)+i]
		s.compile(l.Formula)
	}
}

// condition checks a formula that must be a bool.
func (c *compiler) condition(s *scope, src Source, key string) formula.BoolFunc {
	e := s.compile(src)
	switch e.Kind {
	case formula.Bool:
		return e.Bool
	case formula.Invalid:
		return nil
	}
	c.fault(place(src, 0), "WRONG_TYPE", "", "compare it with something", "%q wants a bool, not %s", key, e.Kind)
	return nil
}

func (c *compiler) key(s *scope, src Source) formula.TextFunc {
	e := s.compile(src)
	switch e.Kind {
	case formula.Text:
		return e.Text
	case formula.Int:
		return func(f *formula.Frame) (string, bool) { v, ok := e.Int(f); return strconv.FormatInt(v, 10), ok }
	case formula.Uint:
		return func(f *formula.Frame) (string, bool) { v, ok := e.Uint(f); return strconv.FormatUint(v, 10), ok }
	case formula.Invalid:
		return nil
	}
	c.fault(place(src, 0), "WRONG_TYPE", "", "", `"key" wants a text, not %s`, e.Kind)
	return nil
}

func (c *compiler) trigger(r *Rule, d *ruleDef) {
	n := 0
	for _, given := range []bool{r.When != nil, r.Every != 0, r.On != nil, r.Receive != nil} {
		if given {
			n++
		}
	}
	switch {
	case n == 0 && r.Broken:
		return
	case n == 0:
		c.fault(r.At, "MISSING_TRIGGER", "", "add one of when:, every:, on: or receive:", "rule %q has no trigger", d.name)
		return
	case n > 1 && !r.Broken:
		c.fault(r.At, "TWO_TRIGGERS", "", "one trigger per rule: write a second rule", "rule %q has more than one trigger", d.name)
	}
	switch {
	case r.When != nil:
		c.when(r, d)
	case r.Every != 0:
		c.every(r, d)
	case r.On != nil:
		c.on(r, d)
	default:
		c.receive(r, d)
	}
}

// instant is the scope of a trigger: it sees values, and no interval.
func (c *compiler) instant() *scope {
	s := c.scope(&Rule{}, &ruleDef{})
	s.instant = true
	return s
}

func (c *compiler) when(r *Rule, d *ruleDef) {
	d.trigger, d.canonical = byWhen, "when "+formula.Canonical(r.When.Text)
	s := c.instant()
	d.when = c.condition(s, *r.When, "when")
	d.whenUse = s.use
	if d.when != nil && len(s.use.inputs)+len(s.use.contexts)+len(s.use.asked) == 0 {
		c.fault(place(*r.When, 0), "UNREACHABLE", "", "", `"when" reads no input, so it never turns true`)
	}
}

func (c *compiler) every(r *Rule, d *ruleDef) {
	d.trigger, d.every = byEvery, r.Every.Nanoseconds()
	d.canonical = "every " + r.Every.String()
	if r.Every < 0 {
		c.fault(r.At, "OUT_OF_RANGE", "", "", "rule %q has a negative interval", d.name)
	}
	for _, src := range r.Split {
		s := c.instant()
		e := s.compile(src)
		switch e.Kind {
		case formula.Bool, formula.Int, formula.Uint, formula.Float, formula.Text, formula.Time:
			d.splits = append(d.splits, splitDef{expr: e, use: s.use})
			d.canonical += " split " + formula.Canonical(src.Text)
		case formula.Invalid:
		default:
			c.fault(place(src, 0), "WRONG_TYPE", "", "", `"split" wants a value, not a %s`, e.Kind)
		}
	}
}

func (c *compiler) on(r *Rule, d *ruleDef) {
	d.trigger, d.step, d.canonical = byOn, r.Step, "on "+r.On.Text
	d.on = c.input(r.On.Text)
	if d.on < 0 {
		c.fault(place(*r.On, 0), "UNKNOWN_NAME", nearest.Name(r.On.Text, c.inputNames()), `"on" names an input`, "unknown input %q", r.On.Text)
		return
	}
	c.read[r.On.Text] = true
	if k := c.p.inputs[d.on].kind; r.Step != 0 && k != formula.Int && k != formula.Uint && k != formula.Invalid {
		c.fault(place(*r.On, 0), "WRONG_TYPE", "", "", `"step" counts, and %q is %s`, r.On.Text, k)
	}
}

func (c *compiler) receive(r *Rule, d *ruleDef) {
	d.trigger, d.canonical = byReceive, "receive"
	if what := r.Receive.What; what.Text != "Operation" {
		c.fault(place(what, 0), "LATER_FEATURE", "", "", "%q cannot be received: only Operation", what.Text)
	}
	verbs := []string{"new", "changed", "cancelled"}
	for _, v := range r.Receive.Verbs {
		i := slices.Index(verbs, v.Text)
		if i < 0 {
			c.fault(place(v, 0), "UNKNOWN_VALUE", nearest.Name(v.Text, verbs), "there are "+strings.Join(verbs, ", "), "an operation is never %q", v.Text)
			continue
		}
		d.verbs[i] = true
	}
}
