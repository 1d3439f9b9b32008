package http

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"regexp"

	"github.com/plantloom/plantloom/internal/conf"
)

// jsonNumber is what of an unquoted literal is a JSON number; 0017 is not.
var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`)

// body is a tree of literals and formulas that renders as JSON, with the keys
// in the order of the file.
type body struct {
	formula *formula
	literal json.RawMessage
	isMap   bool
	keys    []json.RawMessage // encoded
	values  []*body           // of the keys, or the elements of a list
}

// compileBody compiles a tree; it reports every fault in it and returns nil for
// what has one.
func compileBody(n *conf.Node, s scope, faults *conf.Faults) *body {
	if n.Broken() {
		return nil
	}
	switch n.Kind() {
	case conf.Map:
		out := &body{isMap: true}
		for _, key := range n.Keys() {
			if value := compileBody(n.Field(key), s, faults); value != nil {
				out.keys = append(out.keys, mustJSON(key))
				out.values = append(out.values, value)
			}
		}
		return out
	case conf.List:
		out := &body{}
		for _, item := range n.Items() {
			if value := compileBody(item, s, faults); value != nil {
				out.values = append(out.values, value)
			}
		}
		return out
	case conf.Null:
		return &body{literal: json.RawMessage("null")}
	}
	if !isFormula(n) {
		return &body{literal: literalJSON(n)}
	}
	if f := compileFormula(n, s, faults); f != nil {
		return &body{formula: f}
	}
	return nil
}

// literalJSON keeps what is written: only an unquoted true, false or JSON
// number is one, all else is text.
func literalJSON(n *conf.Node) json.RawMessage {
	text := n.Text()
	if !n.IsQuoted() && !n.IsBlock() && (text == "true" || text == "false" || jsonNumber.MatchString(text)) {
		return json.RawMessage(text)
	}
	return mustJSON(text)
}

// render appends the tree as JSON. It returns false, and appends nothing, for
// a formula that gives nil.
func (b *body) render(to *bytes.Buffer, env map[string]any) (bool, error) {
	switch {
	case b.literal != nil:
		to.Write(b.literal)
		return true, nil
	case b.formula != nil:
		value, err := b.formula.eval(env)
		if err != nil || value == nil {
			return false, err
		}
		text, err := encodeValue(value)
		if err != nil {
			return false, fmt.Errorf("%s: %w", b.formula.at, err)
		}
		to.Write(text)
		return true, nil
	}
	return true, b.renderAll(to, env)
}

func (b *body) renderAll(to *bytes.Buffer, env map[string]any) error {
	brackets := "[]"
	if b.isMap {
		brackets = "{}"
	}
	to.WriteByte(brackets[0])
	first := true
	for i, value := range b.values {
		mark := to.Len()
		if !first {
			to.WriteByte(',')
		}
		if b.isMap {
			to.Write(b.keys[i])
			to.WriteByte(':')
		}
		present, err := value.render(to, env)
		if err != nil {
			return err
		}
		if !present {
			to.Truncate(mark)
			continue
		}
		first = false
	}
	to.WriteByte(brackets[1])
	return nil
}

// encodeValue renders a formula's value. Text stays text: a quantity never
// passes through a binary float here.
func encodeValue(value any) ([]byte, error) {
	if f, ok := value.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
		return nil, fmt.Errorf("%v is no JSON number", f)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return nil, fmt.Errorf("encoding the value of a formula: %w", err)
	}
	return bytes.TrimRight(out.Bytes(), "\n"), nil
}

// mustJSON encodes text, which always encodes.
func mustJSON(text string) json.RawMessage {
	out, err := encodeValue(text)
	if err != nil {
		panic(fmt.Sprintf("encoding text: %v", err))
	}
	return out
}

// parseAny reads JSON for formulas: integers as integers, other numbers as
// their text so that no digit is lost. raw keeps every number as written.
func parseAny(text []byte) (value, raw any, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&raw); err != nil {
		return nil, nil, fmt.Errorf("reading JSON: %w", err)
	}
	if dec.More() {
		return nil, nil, fmt.Errorf("reading JSON: something follows the first value")
	}
	return numbersForFormulas(raw), raw, nil
}

// numbersForFormulas copies a tree with its numbers made usable.
func numbersForFormulas(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return int(n)
		}
		return v.String()
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = numbersForFormulas(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for key := range v {
			out[key] = numbersForFormulas(v[key])
		}
		return out
	}
	return v
}
