package conf

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Decoder is a type that reads itself from a node. It records what is wrong and
// leaves itself unchanged then. It is not called for absent keys.
type Decoder interface {
	DecodeConf(n *Node, faults *Faults)
}

// Enum is a string type with a fixed set of values.
type Enum interface{ Values() []string }

// Later is a struct that knows keys of features to come; the text completes
// "<key> is a later feature: ".
type Later interface{ LaterKeys() map[string]string }

// Decode reads a node into the value that into points to, and records all faults.
//
// The type of the target decides: text keeps what is written (0017, yes, 1e3),
// numbers are decimal, bools are true or false, durations have a unit (ms, s, m,
// h, d). Structs name their keys in tags: `conf:"name"`, with the options
// "required" (the key must be there), "positive" (a number above zero) and
// "inline" (the keys of an embedded struct stand beside the others). Fields
// without a tag are not read. Keys that no field names are faults. What is
// already in the target stays where a key is absent, so defaults are set before
// the call; lists and maps that are present replace it.
//
// Supported are string, bool, int, uint and float kinds, time.Duration, structs,
// pointers, slices, maps with string keys, *Node (taken as it is), Decoder, Enum
// and encoding.TextUnmarshaler. Another type is a programmer's mistake: it panics.
func Decode(n *Node, into any, faults *Faults) {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		panic(fmt.Sprintf("conf: Decode into %T, want a pointer", into))
	}
	decode(n, v.Elem(), field{}, faults)
}

// field is what a struct says about one of its fields.
type field struct {
	name     string
	index    []int
	required bool
	positive bool
	secret   bool
}

func decode(n *Node, v reflect.Value, f field, faults *Faults) {
	if !n.Exists() || n.broken {
		return
	}
	if v.Type() == reflect.TypeFor[*Node]() {
		v.Set(reflect.ValueOf(n))
		return
	}
	if v.Kind() == reflect.Pointer {
		decodePointer(n, v, f, faults)
		return
	}
	if d, ok := v.Addr().Interface().(Decoder); ok {
		d.DecodeConf(n, faults)
		return
	}
	if n.Kind() == Null {
		faults.Add(n.Pos(), CodeEmpty, n.label()+" has no value", Hint("give it %s or remove the key", wanted(v.Type())))
		return
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		decodeText(n, u, f, faults)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		decodeStruct(n, v, faults)
	case reflect.Slice:
		decodeSlice(n, v, f, faults)
	case reflect.Map:
		decodeMap(n, v, f, faults)
	default:
		decodeScalar(n, v, f, faults)
	}
}

func decodePointer(n *Node, v reflect.Value, f field, faults *Faults) {
	if n.Kind() == Null {
		v.SetZero()
		return
	}
	target := reflect.New(v.Type().Elem())
	if !v.IsNil() {
		target.Elem().Set(v.Elem())
	}
	decode(n, target.Elem(), f, faults)
	v.Set(target)
}

func decodeText(n *Node, u encoding.TextUnmarshaler, f field, faults *Faults) {
	if !wantKind(n, Scalar, faults) {
		return
	}
	if err := u.UnmarshalText([]byte(n.Text())); err != nil {
		faults.Add(n.ValuePos(), CodeWrongType, fmt.Sprintf("%s: %v", n.label(), err))
		return
	}
	if s, ok := u.(*Size); ok && f.positive && *s <= 0 {
		notPositive(n, faults)
	}
}

func decodeSlice(n *Node, v reflect.Value, f field, faults *Faults) {
	if n.Kind() == Scalar {
		faults.Add(n.ValuePos(), CodeWrongKind, n.label()+" wants a list, not a single value", Hint("write [%s]", shorten(n.Text())))
		return
	}
	if !wantKind(n, List, faults) {
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
	for i, item := range n.items {
		decode(item, out.Index(i), field{positive: f.positive}, faults)
	}
	v.Set(out)
}

func decodeMap(n *Node, v reflect.Value, f field, faults *Faults) {
	if v.Type().Key().Kind() != reflect.String {
		panic(fmt.Sprintf("conf: cannot decode into %s: keys must be strings", v.Type()))
	}
	if !wantKind(n, Map, faults) {
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), len(n.keys))
	for _, name := range n.keys {
		element := reflect.New(v.Type().Elem()).Elem()
		decode(n.fields[name], element, field{positive: f.positive}, faults)
		out.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), element)
	}
	v.Set(out)
}

func decodeStruct(n *Node, v reflect.Value, faults *Faults) {
	if !wantKind(n, Map, faults) {
		return
	}
	fields := fieldsOf(v.Type())
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	var later map[string]string
	if l, ok := v.Addr().Interface().(Later); ok {
		later = l.LaterKeys()
	}
	for _, name := range KnownKeys(n, faults, names, later) {
		// A misspelt key of a secret carries the secret.
		if i := slices.IndexFunc(fields, func(f field) bool { return f.name == Nearest(name, names) }); i >= 0 && fields[i].secret {
			n.fields[name].HideFrom(faults)
		}
	}
	for _, f := range fields {
		value := n.Field(f.name)
		if !value.Exists() {
			if f.required && !n.broken {
				faults.Add(n.Pos(), CodeMissingKey, fmt.Sprintf("%s lacks the key %q", n.label(), f.name), Hint("add %s: ...", f.name))
			}
			continue
		}
		decode(value, v.FieldByIndex(f.index), f, faults)
	}
}

// fieldsOf returns the fields of a struct type that have a conf tag.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		sf := t.Field(i)
		tag, ok := sf.Tag.Lookup("conf")
		if !ok || tag == "-" {
			continue
		}
		if !sf.IsExported() {
			panic(fmt.Sprintf("conf: field %s of %s has a conf tag and is not exported", sf.Name, t))
		}
		parts := strings.Split(tag, ",")
		if slices.Contains(parts[1:], "inline") {
			for _, f := range fieldsOf(sf.Type) {
				f.index = append([]int{i}, f.index...)
				out = append(out, f)
			}
			continue
		}
		out = append(out, field{
			name: parts[0], index: []int{i},
			required: slices.Contains(parts[1:], "required"),
			positive: slices.Contains(parts[1:], "positive"),
			secret:   sf.Type == reflect.TypeFor[Secret]() || sf.Type == reflect.TypeFor[*Secret](),
		})
	}
	return out
}

// KnownKeys reports each key of a map that is neither allowed nor, with other
// words, in later. It returns the keys that it reported as unknown.
func KnownKeys(n *Node, faults *Faults, allowed []string, later map[string]string) []string {
	if n.Kind() != Map {
		return nil
	}
	var unknown []string
	for _, name := range n.keys {
		if slices.Contains(allowed, name) {
			continue
		}
		if what, ok := later[name]; ok {
			faults.Add(n.fields[name].Pos(), CodeLaterKey, fmt.Sprintf("%q is a later feature: %s", name, what))
			continue
		}
		unknown = append(unknown, name)
		near := Nearest(name, allowed)
		options := []Option{Near(near)}
		if near == "" && len(allowed) > 0 {
			options = append(options, Hint("known here: %s", strings.Join(allowed, ", ")))
		}
		faults.Add(n.fields[name].Pos(), CodeUnknownKey, fmt.Sprintf("unknown key %q", name), options...)
	}
	return unknown
}

// wantKind reports a node of another kind than wanted.
func wantKind(n *Node, want Kind, faults *Faults) bool {
	if n.Broken() || !n.Exists() {
		return false
	}
	if n.Kind() == want {
		return true
	}
	if n.Kind() == Null {
		faults.Add(n.Pos(), CodeEmpty, n.label()+" has no value", Hint("give it %s or remove the key", want))
		return false
	}
	faults.Add(n.ValuePos(), CodeWrongKind, fmt.Sprintf("%s wants %s, not %s", n.label(), want, n.Kind()))
	return false
}

// label names a node in messages: by its key, else by what it is.
func (n *Node) label() string {
	if n.Name() != "" {
		return fmt.Sprintf("%q", n.Name())
	}
	if n.file != nil && n == n.file.Root {
		return "the file"
	}
	return "this entry"
}

// wanted names a type to users.
func wanted(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "a duration"
	case t == reflect.TypeFor[Size]():
		return "a size"
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return "a value"
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return Map.String()
	case reflect.Slice:
		return List.String()
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return `a text ("" for the empty one)`
	default:
		return "a number"
	}
}
