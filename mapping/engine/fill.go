package engine

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/plantloom/plantloom/mapping/formula"
)

// fill sets the fields of a message from a frame. Nothing of a message with an error may be used.
func fill(m protoreflect.Message, fields []fieldDef, f *formula.Frame) error {
	for i := range fields {
		d := &fields[i]
		if d.isList {
			if err := fillList(m, d, f); err != nil {
				return err
			}
			continue
		}
		v, ok, err := d.value(f)
		switch {
		case err != nil:
			return err
		case !ok && d.required, ok && d.required && d.fd.Kind() == protoreflect.StringKind && v.String() == "":
			return &ruleError{"RULE_NULL_FIELD", fmt.Sprintf("the required field %q has no value", d.name)}
		case !ok:
			continue
		}
		under(m, d.path).Set(d.fd, v)
	}
	return nil
}

func under(m protoreflect.Message, path []protoreflect.FieldDescriptor) protoreflect.Message {
	for _, fd := range path {
		m = m.Mutable(fd).Message()
	}
	return m
}

func fillList(m protoreflect.Message, d *fieldDef, f *formula.Frame) error {
	var values []protoreflect.Value
	if d.value != nil {
		v, ok, err := d.value(f)
		if err != nil || !ok {
			return err
		}
		for i := range v.List().Len() {
			clone, _, _ := copied(v.List().Get(i).Message())
			values = append(values, clone)
		}
	}
	for i := range d.items {
		item := &d.items[i]
		if item.fields != nil {
			sub := m.NewField(d.fd)
			if len(d.path) > 0 {
				sub = under(m, d.path).NewField(d.fd)
			}
			element := sub.List().NewElement()
			if err := fill(element.Message(), item.fields, f); err != nil {
				return err
			}
			values = append(values, element)
			continue
		}
		v, ok, err := item.value(f)
		if err != nil {
			return err
		}
		if ok {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		if d.required {
			return &ruleError{"RULE_NULL_FIELD", fmt.Sprintf("the required field %q has no value", d.name)}
		}
		return nil
	}
	list := under(m, slices.Clip(d.path)).Mutable(d.fd).List()
	for _, v := range values {
		list.Append(v)
	}
	return nil
}
