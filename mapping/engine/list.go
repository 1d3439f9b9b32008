package engine

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/plantloom/plantloom/mapping/formula"
)

// list lowers the value of a repeated field: a list in YAML, a list formula, or one value.
func (c *fieldCompiler) list(fd protoreflect.FieldDescriptor, n *Node, full string) (items []itemDef, all valueFunc) {
	if n.Formula != nil {
		e := c.scope.compile(*n.Formula)
		switch {
		case e.Kind == formula.List:
			for _, item := range e.Items {
				items = append(items, itemDef{value: c.convert(fd, item, *n.Formula, full, &unitOf{})})
			}
		case e.Kind == formula.Parameters && fd.Message() != nil && fd.Message().Name() == "Parameter":
			return nil, func(f *formula.Frame) (protoreflect.Value, bool, error) {
				l := e.Params(f)
				return protoreflect.ValueOfList(l), l != nil && l.IsValid() && l.Len() > 0, nil
			}
		case e.Kind != formula.Invalid:
			c.fault(place(*n.Formula, e.Offset), "WRONG_TYPE", "", "write [x]", "the field %q holds a list, not a %s", full, e.Kind)
		}
		return items, nil
	}
	if n.Items == nil {
		c.fault(n.At, "WRONG_TYPE", "", `begin each entry with "- "`, "the field %q holds a list", full)
		c.checkNode(c.scope, n)
		return nil, nil
	}
	for i := range n.Items {
		item := &n.Items[i]
		if item.Fields == nil {
			items = append(items, itemDef{value: c.single(fd, item, full, &unitOf{})})
			continue
		}
		if fd.Message() == nil {
			c.fault(item.At, "WRONG_TYPE", "", "", "the entries of %q have no fields", full)
			continue
		}
		sub := &fieldCompiler{compiler: c.compiler, scope: c.scope, set: map[string]bool{}}
		before := len(c.faults)
		fields := sub.fields(fd.Message(), nil, item.Fields, "")
		if len(c.faults) == before {
			sub.missing(fd.Message(), "", item.At)
		}
		items = append(items, itemDef{fields: fields})
	}
	return items, nil
}

// missing reports required fields that are not set. It runs where nothing else is wrong: a misspelt name is not
// missing as well.
func (c *fieldCompiler) missing(desc protoreflect.MessageDescriptor, prefix string, at Pos) {
	for _, name := range requiredFields(desc.Name()) {
		if !c.set[prefix+string(name)] {
			c.fault(at, "MISSING_FIELD", "", "add "+string(name)+": ...", "%s needs the field %q", desc.Name(), prefix+string(name))
		}
	}
}
