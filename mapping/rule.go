package mapping

import (
	"fmt"
	"strings"
	"time"

	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/mapping/engine"
)

const (
	defaultMaxGap  = 60 * time.Second
	defaultSlack   = 1.0
	defaultExpires = 30 * time.Second
	defaultWithin  = 10 * time.Second

	// maxEvery is the longest interval that is the same in every time zone; below minEvery a tick costs more than it says.
	maxEvery = time.Hour
	minEvery = 100 * time.Millisecond
)

func (p *parser) rules(n *conf.Node) {
	if !n.Exists() {
		return
	}
	var items []*conf.Node
	conf.Decode(n, &items, p.faults)
	first := map[string]conf.Pos{}
	for _, item := range items {
		if !p.isMap(item) {
			continue
		}
		before := p.faults.Len()
		r := p.rule(item)
		r.Broken = p.faults.Len() > before
		if r.Name.Text == "" {
			continue
		}
		at := confPos(r.Name.At(0))
		if was, twice := first[r.Name.Text]; twice {
			// R13: the name is the rule's id, in event ids too.
			p.fault(at, CodeDuplicateName, "a second rule is named "+quoted(r.Name.Text), conf.Hint("the first is in line %d", was.Line))
			r.Name.Text = fmt.Sprintf("%s, line %d", r.Name.Text, at.Line) // so that the rest of it is checked
		}
		first[r.Name.Text] = at
		p.m.Spec.Rules = append(p.m.Spec.Rules, r)
	}
}

func (p *parser) rule(n *conf.Node) engine.Rule {
	shape := ruleShape{Expires: defaultExpires}
	conf.Decode(n, &shape, p.faults)
	shape.all(n)
	r := engine.Rule{
		Name: p.text(shape.Name), At: enginePos(n.Pos()),
		Settle: shape.Settle, Every: shape.Every, Step: shape.Step, Expires: shape.Expires,
		If: p.or(p.optional(shape.If), shape.If, "true"), Let: p.lets(shape.Let, false),
		Emit: p.name(shape.Emit), Set: p.fields(shape.Set),
		Write: p.assigns(shape.Write), Ack: p.assigns(shape.Ack), Shake: p.handshake(shape.Handshake),
	}
	if shape.Key.Exists() {
		r.Key = p.or(p.formula(shape.Key, false), shape.Key, `""`)
	}
	p.trigger(n, &shape, &r)
	p.complete(n, &shape)
	return r
}

// optional reads a formula that may stand without its "=".
func (p *parser) optional(n *conf.Node) *engine.Source {
	if !n.Exists() {
		return nil
	}
	return p.formula(n, true)
}

// trigger reads the one trigger of a rule.
func (p *parser) trigger(n *conf.Node, shape *ruleShape, r *engine.Rule) {
	first := ""
	for _, key := range n.Keys() {
		switch key {
		case "when", "every", "on", "receive":
		default:
			continue
		}
		if first != "" {
			p.fault(n.Field(key).Pos(), CodeTwoTriggers, "the rule already has the trigger "+quoted(first),
				conf.Hint("one trigger per rule: write a second rule"))
			continue
		}
		first = key
	}
	switch first {
	case "when":
		r.When = p.or(p.optional(shape.When), shape.When, "false")
	case "on":
		r.On = p.name(shape.On)
	case "receive":
		r.Receive = p.receive(shape.Receive)
	case "":
		p.noTrigger(n)
	}
	if first != "every" && first != "" {
		r.Every = 0
	}
	if shape.Every > maxEvery {
		p.fault(n.Field("every").ValuePos(), conf.CodeLaterKey, "an interval above 1h needs a time zone: "+laterCalendar, conf.Hint("write 1h or less"))
	}
	if shape.Every > 0 && shape.Every < minEvery {
		p.fault(n.Field("every").ValuePos(), conf.CodeOutOfRange, fmt.Sprintf("an interval of %s is too short", shape.Every), conf.Hint("write %s or more, or on: for each value", minEvery))
	}
	for _, item := range listOf(shape.Split) {
		if s := p.optional(item); s != nil {
			r.Split = append(r.Split, *s)
		}
	}
	p.belongs(n, "settle", "when", first)
	p.belongs(n, "split", "every", first)
	p.belongs(n, "step", "on", first)
}

// noTrigger reports a rule without a trigger, unless it has a trigger of a later version, which is reported already.
func (p *parser) noTrigger(n *conf.Node) {
	for _, key := range []string{"while", "cron", "window"} {
		if n.Field(key).Exists() {
			return
		}
	}
	p.fault(n.Pos(), CodeMissingTrigger, "the rule has no trigger", conf.Hint("add one of when:, every:, on: or receive:"))
}

// belongs reports a key that means nothing without another trigger.
func (p *parser) belongs(n *conf.Node, key, trigger, found string) {
	if value := n.Field(key); value.Exists() && found != trigger && found != "" {
		p.fault(value.Pos(), CodeMisplacedKey, quoted(key)+" belongs to "+quoted(trigger)+", and this rule has "+quoted(found))
	}
}

// complete checks that the keys of a rule make a whole.
func (p *parser) complete(n *conf.Node, shape *ruleShape) {
	need := func(key *conf.Node, other string) {
		if key.Exists() && !n.Field(other).Exists() {
			p.fault(key.Pos(), conf.CodeMissingKey, quoted(key.Name())+" needs "+quoted(other)+" beside it")
		}
	}
	need(shape.Emit, "key")
	need(shape.Emit, "set")
	if !shape.Emit.Exists() {
		need(shape.Key, "emit")
		need(shape.Set, "emit")
	}
	need(shape.Handshake, "write")
	need(n.Field("expires"), "write")
	if !shape.Emit.Exists() && !shape.Write.Exists() && !shape.Ack.Exists() && !shape.Set.Exists() && !shape.Key.Exists() {
		p.fault(n.Pos(), CodeNoEffect, "the rule has no effect", conf.Hint("add emit:, write: or ack:"))
	}
}

// listOf returns the items of a list, or the single value as a list.
func listOf(n *conf.Node) []*conf.Node {
	switch n.Kind() {
	case conf.Missing:
		return nil
	case conf.List:
		return n.Items()
	}
	return []*conf.Node{n}
}

func (p *parser) receive(n *conf.Node) *engine.Receive {
	out := &engine.Receive{What: engine.Source{Text: "Operation", At: func(int) engine.Pos { return enginePos(n.ValuePos()) }}}
	if !p.isMap(n) {
		return out
	}
	conf.KnownKeys(n, p.faults, []string{"Operation"}, laterOfReceive())
	what := n.Field("Operation")
	if !what.Exists() {
		if len(n.Keys()) == 0 {
			p.fault(n.Pos(), conf.CodeMissingKey, `"receive" lacks the key "Operation"`, conf.Hint("write receive: {Operation: new}"))
		}
		out.Verbs = []engine.Source{*fixedSource("new", n.ValuePos())}
		return out
	}
	out.What = keySource(what)
	for _, item := range listOf(what) {
		v := verb("new")
		conf.Decode(item, &v, p.faults)
		s := engine.Source{Text: string(v), At: func(o int) engine.Pos { return enginePos(item.ScalarPos(o)) }}
		out.Verbs = append(out.Verbs, s)
	}
	return out
}

func (p *parser) handshake(n *conf.Node) *engine.Handshake {
	if !n.Exists() {
		return nil
	}
	shape := shakeShape{Style: "level", Within: defaultWithin}
	conf.Decode(n, &shape, p.faults)
	if n.Kind() != conf.Map || !shape.Request.Exists() || !shape.Ack.Exists() {
		return nil // reported, or broken
	}
	return &engine.Handshake{
		Request: p.name(shape.Request), Ack: p.name(shape.Ack), Nack: p.name(shape.Nack), Code: p.name(shape.Code),
		Style: string(shape.Style), Within: shape.Within,
	}
}

func (p *parser) assigns(n *conf.Node) (out []engine.Assign) {
	if !p.isMap(n) {
		return nil
	}
	for _, key := range n.Keys() {
		if value, ok := p.value(n.Field(key)); ok {
			out = append(out, engine.Assign{Output: keySource(n.Field(key)), Value: value})
		}
	}
	return out
}

func (p *parser) fields(n *conf.Node) (out []engine.Field) {
	if !p.isMap(n) {
		return nil
	}
	for _, key := range n.Keys() {
		value := n.Field(key)
		if key == "each" {
			p.fault(value.Pos(), conf.CodeLaterKey, `"each" is a later feature: `+laterRepeat)
			continue
		}
		if strings.HasPrefix(key, ".") || strings.HasSuffix(key, ".") || strings.Contains(key, "..") {
			p.fault(value.Pos(), CodeBadName, quoted(key)+" is not a path of fields", conf.Hint("write delta.good"))
			continue
		}
		if v, ok := p.value(value); ok {
			out = append(out, engine.Field{Name: keySource(value), Value: v})
		}
	}
	return out
}

// value reads what stands behind a key of set:, write: or ack:. ok is false after a fault.
func (p *parser) value(n *conf.Node) (v engine.Node, ok bool) {
	v.At = enginePos(n.ValuePos())
	switch {
	case n.Broken():
		p.broken = append(p.broken, spanOf(n))
		return v, false
	case n.Kind() == conf.Map:
		v.Fields = p.fields(n)
		return v, len(v.Fields) > 0
	case n.Kind() == conf.List:
		for _, item := range n.Items() {
			if x, ok := p.value(item); ok {
				v.Items = append(v.Items, x)
			}
		}
		return v, len(v.Items) > 0
	case n.Kind() == conf.Null:
		p.text(n) // reports that nothing stands there
		return v, false
	}
	if _, formula := isFormula(n); formula {
		v.Formula = p.formula(n, false)
		return v, v.Formula != nil
	}
	v.Literal = &engine.Literal{Source: sourceOf(n, 0), Quoted: n.IsQuoted()}
	return v, true
}
