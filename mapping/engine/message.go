package engine

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	"github.com/plantloom/plantloom/internal/nearest"
	"github.com/plantloom/plantloom/internal/unit"
	"github.com/plantloom/plantloom/mapping/formula"
)

// events lists the messages that a rule may emit: those with an event header.
func events() map[string]protoreflect.MessageDescriptor {
	out := map[string]protoreflect.MessageDescriptor{}
	header := (*eventv1.EventHeader)(nil).ProtoReflect().Descriptor().FullName()
	protoregistry.GlobalFiles.RangeFilesByPackage("plantloom.event.v1", func(fd protoreflect.FileDescriptor) bool {
		for i := range fd.Messages().Len() {
			m := fd.Messages().Get(i)
			if f := m.Fields().ByName("header"); f != nil && f.Message() != nil && f.Message().FullName() == header {
				out[string(m.Name())] = m
			}
		}
		return true
	})
	return out
}

// requiredFields names the fields of a message without which it means nothing.
func requiredFields(m protoreflect.Name) []protoreflect.Name {
	switch m {
	case "ProductionOrderEvent":
		return []protoreflect.Name{"type", "order_id"}
	case "QualityEvent", "UnitEvent":
		return []protoreflect.Name{"type"}
	case "MaterialConsumptionEvent":
		return []protoreflect.Name{"order_id"}
	case "CharacteristicResult":
		return []protoreflect.Name{"characteristic_id"}
	case "Parameter":
		return []protoreflect.Name{"id"}
	case "ScrapReason":
		return []protoreflect.Name{"reason_code", "quantity"}
	case "Activity":
		return []protoreflect.Name{"activity_id"}
	case "Quantity":
		return []protoreflect.Name{"value", "unit_code"}
	}
	return nil
}

func (c *compiler) message(s *scope, r *Rule) *messageDef {
	known := events()
	desc, ok := known[r.Emit.Text]
	if !ok {
		var names []string
		for name := range known {
			names = append(names, name)
		}
		slices.Sort(names)
		c.fault(place(*r.Emit, 0), "UNKNOWN_MESSAGE", nearest.Name(r.Emit.Text, names), "there are "+strings.Join(names, ", "), "there is no event %q", r.Emit.Text)
		c.check(s, r.Set)
		return nil
	}
	typ, err := protoregistry.GlobalTypes.FindMessageByName(desc.FullName())
	if err != nil {
		c.fault(place(*r.Emit, 0), "UNKNOWN_MESSAGE", "", "", "the event %q has no Go type", r.Emit.Text)
		return nil
	}
	before := len(c.faults)
	f := &fieldCompiler{compiler: c, scope: s, set: map[string]bool{}}
	m := &messageDef{kind: r.Emit.Text, typ: typ, header: desc.Fields().ByName("header")}
	m.fields = f.fields(desc, nil, r.Set, "")
	if len(c.faults) == before && !r.Broken {
		f.missing(desc, "", place(*r.Emit, 0))
	}
	m.orders, m.oper = textField(desc, "order_id"), textField(desc, "operation_id")
	if r.Every != 0 {
		if !f.set["interval_start"] {
			m.from = desc.Fields().ByName("interval_start")
		}
		if !f.set["interval_end"] {
			m.to = desc.Fields().ByName("interval_end")
		}
	}
	return m
}

func textField(d protoreflect.MessageDescriptor, name protoreflect.Name) protoreflect.FieldDescriptor {
	if f := d.Fields().ByName(name); f != nil && f.Kind() == protoreflect.StringKind && !f.IsList() {
		return f
	}
	return nil
}

// check checks the formulas below fields of which nothing else is known.
func (c *compiler) check(s *scope, fields []Field) {
	for i := range fields {
		c.checkNode(s, &fields[i].Value)
	}
}

func (c *compiler) checkNode(s *scope, n *Node) {
	if n.Formula != nil {
		s.compile(*n.Formula)
	}
	c.check(s, n.Fields)
	for i := range n.Items {
		c.checkNode(s, &n.Items[i])
	}
}

// fieldCompiler lowers what stands below set: into the fields of a message.
type fieldCompiler struct {
	*compiler
	scope *scope
	set   map[string]bool // full paths that are given
}

// fields lowers the fields of a message. path are the messages above it, prefix their names.
func (c *fieldCompiler) fields(desc protoreflect.MessageDescriptor, path []protoreflect.FieldDescriptor, fields []Field, prefix string) (out []fieldDef) {
	beside, given := c.siblingUnit(desc, fields)
	for i := range fields {
		out = append(out, c.field(desc, path, &fields[i], prefix, beside)...)
	}
	if u := beside.found; u != nil && !given && u.Code() != "" {
		fd := desc.Fields().ByName("unit_code")
		v := protoreflect.ValueOfString(u.Code())
		out = append(out, fieldDef{name: prefix + "unit_code", path: path, fd: fd, value: func(*formula.Frame) (protoreflect.Value, bool, error) { return v, true, nil }})
	}
	return out
}

// unitOf carries the unit between a value and the unit_code beside it.
type unitOf struct {
	want  *unit.Unit // of unit_code
	found *unit.Unit // of the value
}

// siblingUnit reads the unit_code that stands beside a value: the value is converted to it.
func (c *fieldCompiler) siblingUnit(desc protoreflect.MessageDescriptor, fields []Field) (u *unitOf, given bool) {
	u = &unitOf{}
	code, value := desc.Fields().ByName("unit_code"), desc.Fields().ByName("value")
	if code == nil || value == nil || value.Message() == nil {
		return u, true
	}
	for i := range fields {
		f := &fields[i]
		if f.Name.Text != "unit_code" {
			continue
		}
		given = true
		if f.Value.Literal != nil {
			if want, err := unit.Parse(f.Value.Literal.Text); err == nil {
				u.want = &want
			}
		}
	}
	return u, given
}

// field lowers one entry. Its name may be a path: delta.good.
func (c *fieldCompiler) field(desc protoreflect.MessageDescriptor, path []protoreflect.FieldDescriptor, f *Field, prefix string, beside *unitOf) []fieldDef {
	at := desc
	path = slices.Clip(path)
	segments, offset := strings.Split(f.Name.Text, "."), 0
	var fd protoreflect.FieldDescriptor
	for i, name := range segments {
		fd = at.Fields().ByName(protoreflect.Name(name))
		full := prefix + strings.Join(segments[:i+1], ".")
		if fd == nil {
			c.fault(place(f.Name, offset), "UNKNOWN_FIELD", nearest.Name(name, fieldNames(at)), "", "%s has no field %q", at.Name(), name)
			c.checkNode(c.scope, &f.Value)
			return nil
		}
		if !c.allowed(f.Name, offset, full) {
			return nil
		}
		offset += len(name) + 1
		if i == len(segments)-1 {
			break
		}
		if fd.Message() == nil || fd.IsList() || fd.IsMap() {
			c.fault(place(f.Name, offset-len(name)-1), "WRONG_TYPE", "", "", "the field %q of %s has no fields below it", name, at.Name())
			return nil
		}
		c.set[full] = true
		path = append(path, fd)
		at = fd.Message()
	}
	full := prefix + f.Name.Text
	if c.set[full] && fd.Message() == nil {
		c.fault(place(f.Name, 0), "DUPLICATE_NAME", "", "", "the field %q is set twice", full)
	}
	c.set[full] = true
	return c.assigned(at, fd, path, f, full, beside)
}

// allowed keeps a mapping from the fields that make an event traceable.
func (c *fieldCompiler) allowed(name Source, offset int, full string) bool {
	if !strings.HasPrefix(full, "header.") || full == "header.scope" || strings.HasPrefix(full, "header.scope.") {
		return true
	}
	c.fault(place(name, offset), "RESERVED_FIELD", "", "a mapping sets header.scope only", "the engine fills the field %q", full)
	return false
}

// assigned lowers the value of a field that exists.
func (c *fieldCompiler) assigned(desc protoreflect.MessageDescriptor, fd protoreflect.FieldDescriptor, path []protoreflect.FieldDescriptor, f *Field, full string, beside *unitOf) []fieldDef {
	d := fieldDef{name: full, path: path, fd: fd, required: slices.Contains(requiredFields(desc.Name()), fd.Name())}
	n := &f.Value
	switch {
	case fd.IsMap():
		c.fault(place(f.Name, 0), "WRONG_TYPE", "", "", "the field %q is a map, which a mapping cannot set", full)
		return nil
	case fd.IsList():
		d.isList = true
		d.items, d.value = c.list(fd, n, full)
	case n.Fields != nil:
		if fd.Message() == nil {
			c.fault(n.At, "WRONG_TYPE", "", "", "the field %q holds one value and has no fields", full)
			return nil
		}
		before := len(c.faults)
		out := c.fields(fd.Message(), append(slices.Clip(path), fd), n.Fields, full+".")
		if len(c.faults) == before {
			c.missing(fd.Message(), full+".", n.At)
		}
		return out
	case n.Items != nil:
		c.fault(n.At, "WRONG_TYPE", "", "", "the field %q holds one value and not a list", full)
		return nil
	default:
		if fd.Name() != "value" {
			beside = &unitOf{}
		}
		if d.required && n.Formula != nil {
			c.omitted(*n.Formula, full)
		}
		d.value = c.single(fd, n, full, beside)
	}
	return []fieldDef{d}
}

// omitted reports a required field that is an input which is left out while it is bad.
func (c *fieldCompiler) omitted(src Source, full string) {
	name := strings.TrimSpace(src.Text)
	if i := c.input(name); i >= 0 && c.p.inputs[i].bad == BadOmit {
		c.fault(place(src, 0), "OMIT_REQUIRED", "", "use bad: hold or wait, or write "+name+` ?? "..."`, "the field %q is required, and %q is left out while it is bad", full, name)
	}
}

func fieldNames(d protoreflect.MessageDescriptor) (names []string) {
	for i := range d.Fields().Len() {
		names = append(names, string(d.Fields().Get(i).Name()))
	}
	return names
}
