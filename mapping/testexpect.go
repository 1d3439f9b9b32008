package mapping

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/mapping/engine"
)

// ruleNamed finds a rule by the text of a node, and reports a name that no rule has.
func (p *parser) ruleNamed(n *conf.Node) *engine.Rule {
	var names []string
	for i := range p.m.Spec.Rules {
		if r := &p.m.Spec.Rules[i]; r.Name.Text == n.Text() {
			return r
		}
		names = append(names, p.m.Spec.Rules[i].Name.Text)
	}
	if n.Kind() == conf.Scalar && !n.Broken() {
		p.fault(n.ValuePos(), CodeUnknownName, "no rule "+quoted(n.Text()), conf.Near(conf.Nearest(n.Text(), names)))
	}
	return nil
}

// kinds are the keys that say what an expectation is about; the value is a rule.
func kinds() []string { return []string{"event", "write", "ack", "dead"} }

func (p *parser) expectation(n *conf.Node) Expectation {
	e := Expectation{Pos: n.Pos()}
	e.At = p.offset(n, "the expectation")
	var rule *engine.Rule
	for _, kind := range kinds() {
		value := n.Field(kind)
		if !value.Exists() {
			continue
		}
		if e.Kind != "" {
			p.fault(value.Pos(), CodeMisplacedKey, fmt.Sprintf("the expectation already has %q", e.Kind))
			continue
		}
		e.Kind, e.Rule = kind, value.Text()
		rule = p.ruleNamed(value)
	}
	if e.Kind == "" {
		p.fault(n.Pos(), conf.CodeMissingKey, `the expectation lacks the key "event"`, conf.Hint("name the rule: event:, write:, ack: or dead:"))
		return e
	}
	for _, key := range n.Keys() {
		if key == "at" || slices.Contains(kinds(), key) {
			continue
		}
		value := n.Field(key)
		e.Fields = append(e.Fields, ExpectedField{Path: key, Want: value})
		if rule != nil {
			p.expectedField(e.Kind, rule, value)
		}
	}
	return e
}

// expectedField checks that an expected event has the field, or the machine the output.
func (p *parser) expectedField(kind string, rule *engine.Rule, n *conf.Node) {
	switch kind {
	case "event":
		if rule.Emit == nil {
			p.fault(n.Pos(), CodeUnknownField, "the rule "+quoted(rule.Name.Text)+" emits no event")
			return
		}
		if md := message(rule.Emit.Text); md != nil {
			p.checkPath(n, md)
		}
	case "write", "ack":
		var names []string
		for _, a := range p.m.outputs {
			names = append(names, a.name)
		}
		if !slices.Contains(names, n.Name()) {
			p.fault(n.Pos(), CodeUnknownName, "no output "+quoted(n.Name()), conf.Near(conf.Nearest(n.Name(), names)))
		}
	case "dead":
		if n.Name() != "code" {
			p.fault(n.Pos(), conf.CodeUnknownKey, fmt.Sprintf("unknown key %q", n.Name()), conf.Near("code"))
		}
	}
}

func (p *parser) checkPath(n *conf.Node, md protoreflect.MessageDescriptor) {
	for _, segment := range strings.Split(n.Name(), ".") {
		if _, err := strconv.Atoi(segment); err == nil {
			continue // an item of a list
		}
		if md == nil {
			p.fault(n.Pos(), CodeUnknownField, fmt.Sprintf("nothing is below %q", n.Name()))
			return
		}
		f := md.Fields().ByName(protoreflect.Name(segment))
		if f == nil {
			var names []string
			for i := range md.Fields().Len() {
				names = append(names, string(md.Fields().Get(i).Name()))
			}
			p.fault(n.Pos(), CodeUnknownField, fmt.Sprintf("%s has no field %q", md.Name(), segment), conf.Near(conf.Nearest(segment, names)))
			return
		}
		md = f.Message()
	}
}
