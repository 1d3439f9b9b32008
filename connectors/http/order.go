package http

import (
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr/types"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/plantloom/plantloom/internal/conf"
)

// eachKey names the list that a repeated message is made from.
const eachKey = "each"

func sinceScope() scope { return scope{"since": types.String} }

// orderScope: o is the item, it the element of the nearest each.
func orderScope() scope { return scope{"o": types.Any, "it": types.Any} }

// message is a template of a protobuf message.
type message struct {
	at     conf.Pos
	fields []field
}

// field is one field of a template: exactly one of value, message, list and
// each is set.
type field struct {
	at         conf.Pos
	descriptor protoreflect.FieldDescriptor
	value      *value
	message    *message
	list       []field // elements
	each       *formula
	element    *message // of each
}

// value is a literal or a formula.
type value struct {
	formula *formula
	literal any
}

func (v *value) eval(env map[string]any) (any, error) {
	if v.formula == nil {
		return v.literal, nil
	}
	return v.formula.eval(env)
}

// compileMessage compiles a map of fields; every fault is reported.
func compileMessage(n *conf.Node, d protoreflect.MessageDescriptor, s scope, faults *conf.Faults) *message {
	if n.Broken() {
		return nil
	}
	if n.Kind() != conf.Map {
		faults.Add(n.ValuePos(), conf.CodeWrongKind, fmt.Sprintf("%s wants a map of its fields, not %s", d.Name(), n.Kind()))
		return nil
	}
	out := &message{at: n.Pos()}
	for _, key := range n.Keys() {
		if key == eachKey {
			continue // of the list around
		}
		child := n.Field(key)
		f := d.Fields().ByName(protoreflect.Name(key))
		if f == nil || f.IsMap() {
			names := fieldNames(d)
			faults.Add(child.Pos(), conf.CodeUnknownKey, fmt.Sprintf("%s has no field %q", d.Name(), key), conf.Near(conf.Nearest(key, names)))
			continue
		}
		if compiled, ok := compileField(child, f, s, faults); ok {
			out.fields = append(out.fields, compiled)
		}
	}
	return out
}

func compileField(n *conf.Node, f protoreflect.FieldDescriptor, s scope, faults *conf.Faults) (field, bool) {
	out := field{at: n.ValuePos(), descriptor: f}
	switch {
	case n.Broken():
		return out, false
	case f.IsList() && n.Kind() == conf.List:
		for _, item := range n.Items() {
			if element, ok := compileOne(item, f, s, faults); ok {
				out.list = append(out.list, element)
			}
		}
		return out, true
	case f.IsList() && f.Message() != nil && n.Kind() == conf.Map && n.Field(eachKey).Exists():
		out.each = compileFormula(n.Field(eachKey), s, faults)
		out.element = compileMessage(n, f.Message(), s, faults)
		return out, out.each != nil && out.element != nil
	case f.IsList() && f.Message() == nil && isFormula(n):
		out.value = &value{formula: compileFormula(n, s, faults)}
		return out, out.value.formula != nil
	case f.IsList():
		faults.Add(n.ValuePos(), conf.CodeWrongKind, fmt.Sprintf("%s is a list", f.Name()),
			conf.Hint("write {each: =o.%s, ...} or a YAML list", f.Name()))
		return out, false
	}
	return compileOne(n, f, s, faults)
}

// compileOne compiles a single value of a field, or one element of its list.
func compileOne(n *conf.Node, f protoreflect.FieldDescriptor, s scope, faults *conf.Faults) (field, bool) {
	out := field{at: n.ValuePos(), descriptor: f}
	if f.Message() != nil && n.Kind() == conf.Map {
		out.message = compileMessage(n, f.Message(), s, faults)
		return out, out.message != nil
	}
	if n.Kind() != conf.Scalar {
		faults.Add(n.ValuePos(), conf.CodeWrongKind, fmt.Sprintf("%s wants a value or a formula, not %s", f.Name(), n.Kind()))
		return out, false
	}
	if !settable(f) {
		unsettable(n, f, faults)
		return out, false
	}
	if isFormula(n) {
		out.value = &value{formula: compileFormula(n, s, faults)}
		return out, out.value.formula != nil
	}
	out.value = &value{literal: literalFor(n, f)}
	if _, err := convert(f, out.value.literal); err != nil {
		faults.Add(n.ValuePos(), conf.CodeWrongType, fmt.Sprintf("%s: %v", f.Name(), err), nearEnum(n, f))
		return out, false
	}
	return out, true
}

func unsettable(n *conf.Node, f protoreflect.FieldDescriptor, faults *conf.Faults) {
	if f.Message() == nil {
		faults.Add(n.ValuePos(), conf.CodeWrongType, fmt.Sprintf("%s holds bytes and cannot be set here", f.Name()))
		return
	}
	faults.Add(n.ValuePos(), conf.CodeWrongKind, fmt.Sprintf("%s is of type %s: give its fields", f.Name(), f.Message().Name()),
		conf.Hint("fields: %s", strings.Join(fieldNames(f.Message()), ", ")))
}

// literalFor reads a literal by the field's type: an order number 0017 stays text.
func literalFor(n *conf.Node, f protoreflect.FieldDescriptor) any {
	free := f.Message() != nil && f.Message().FullName() == valueName
	if f.Kind() != protoreflect.BoolKind && !free {
		return n.Text()
	}
	decoded, _, err := parseAny(literalJSON(n))
	if err != nil {
		return n.Text()
	}
	return decoded
}

func nearEnum(n *conf.Node, f protoreflect.FieldDescriptor) conf.Option {
	if f.Enum() == nil {
		return conf.Near("")
	}
	return conf.Near(conf.Nearest(n.Text(), shortNames(f.Enum())))
}

func fieldNames(d protoreflect.MessageDescriptor) []string {
	var out []string
	for i := range d.Fields().Len() {
		if f := d.Fields().Get(i); !f.IsMap() {
			out = append(out, string(f.Name()))
		}
	}
	slices.Sort(out)
	return out
}

// build fills a message. A formula that gives nil leaves its field unset.
func (m *message) build(to protoreflect.Message, env map[string]any) error {
	for i := range m.fields {
		if err := m.fields[i].build(to, env); err != nil {
			return err
		}
	}
	return nil
}

func (f *field) build(to protoreflect.Message, env map[string]any) error {
	switch {
	case f.each != nil:
		return f.buildEach(to, env)
	case f.message != nil:
		inner := to.NewField(f.descriptor).Message()
		if err := f.message.build(inner, env); err != nil || isEmpty(inner) {
			return err // a quantity of which nothing is known is no quantity
		}
		to.Set(f.descriptor, protoreflect.ValueOfMessage(inner))
		return nil
	case f.list != nil:
		return f.buildList(to, env)
	case f.value == nil:
		return nil // an empty YAML list
	}
	given, err := f.value.eval(env)
	if err != nil || given == nil {
		return err
	}
	if f.descriptor.IsList() {
		return f.append(to, given)
	}
	v, err := convert(f.descriptor, given)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", f.at, f.descriptor.Name(), err)
	}
	to.Set(f.descriptor, v)
	return nil
}

func isEmpty(m protoreflect.Message) bool {
	empty := true
	m.Range(func(protoreflect.FieldDescriptor, protoreflect.Value) bool {
		empty = false
		return false
	})
	return empty
}

// append takes a list of scalars that a formula gave.
func (f *field) append(to protoreflect.Message, given any) error {
	elements, ok := given.([]any)
	if !ok {
		return fmt.Errorf("%s: %s: %v is no list", f.at, f.descriptor.Name(), given)
	}
	list := to.Mutable(f.descriptor).List()
	for _, element := range elements {
		v, err := convert(f.descriptor, element)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", f.at, f.descriptor.Name(), err)
		}
		list.Append(v)
	}
	return nil
}

func (f *field) buildList(to protoreflect.Message, env map[string]any) error {
	list := to.Mutable(f.descriptor).List()
	for _, element := range f.list {
		if element.message != nil {
			if err := element.message.build(list.AppendMutable().Message(), env); err != nil {
				return err
			}
			continue
		}
		given, err := element.value.eval(env)
		if err != nil {
			return err
		}
		if given == nil {
			continue
		}
		v, err := convert(f.descriptor, given)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", element.at, f.descriptor.Name(), err)
		}
		list.Append(v)
	}
	return nil
}

func (f *field) buildEach(to protoreflect.Message, env map[string]any) error {
	given, err := f.each.eval(env)
	if err != nil || given == nil {
		return err
	}
	elements, ok := given.([]any)
	if !ok {
		return fmt.Errorf("%s: %q gives no list", f.each.at, f.each.text)
	}
	list := to.Mutable(f.descriptor).List()
	for _, element := range elements {
		inner := map[string]any{"o": env["o"], "it": element}
		if err := f.element.build(list.AppendMutable().Message(), inner); err != nil {
			return err
		}
	}
	return nil
}
