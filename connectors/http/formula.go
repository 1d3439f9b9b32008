package http

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"

	"github.com/plantloom/plantloom/internal/conf"
)

// codeFormula is the stable code of faults in formulas.
const codeFormula = "formula"

// scope is what a formula may name.
type scope types.Map

// with returns a scope that knows more names.
func (s scope) with(more scope) scope {
	out := maps.Clone(s)
	maps.Copy(out, more)
	return out
}

// formula is a compiled expression with its place. It is safe for concurrent use.
type formula struct {
	text    string
	at      conf.Pos
	program *vm.Program
}

// isFormula says whether a scalar is a formula rather than a literal.
func isFormula(n *conf.Node) bool { return n.Kind() == conf.Scalar && strings.HasPrefix(n.Text(), "=") }

// compileFormula compiles a scalar that is always a formula, with or without
// the leading "=". It returns nil when there is none or it has a fault.
func compileFormula(n *conf.Node, s scope, faults *conf.Faults, options ...expr.Option) *formula {
	if !n.Exists() || n.Broken() {
		return nil
	}
	if n.Kind() != conf.Scalar {
		faults.Add(n.ValuePos(), conf.CodeWrongKind, fmt.Sprintf("%q wants a formula, not %s", n.Name(), n.Kind()))
		return nil
	}
	warnComment(n, faults)
	from := len(n.Text()) - len(strings.TrimPrefix(n.Text(), "="))
	return compilePart(n, from, len(n.Text()), s, faults, options...)
}

// warnComment reports a comment behind a formula: " #" begins one in YAML, and
// a formula may have meant the element of a list.
func warnComment(n *conf.Node, faults *conf.Faults) {
	if text, at, ok := n.Comment(); ok && !n.IsQuoted() {
		faults.Add(at, codeFormula, fmt.Sprintf("%q is a comment here, not part of the formula", text), conf.Warning(),
			conf.Hint("put the formula in quotes, or move the comment to a line of its own"))
	}
}

// compilePart compiles the bytes from..to of a scalar's text.
func compilePart(n *conf.Node, from, to int, s scope, faults *conf.Faults, options ...expr.Option) *formula {
	text := n.Text()[from:to]
	place := func(l file.Location) conf.Pos { return n.ScalarPos(from + runeOffset(text, l.From)) }
	known := checkNames(text, s, func(l file.Location, message string, names []string, name string) {
		faults.Add(place(l), codeFormula, message, conf.Near(conf.Nearest(name, names)))
	})
	if !known {
		return nil
	}
	all := append([]expr.Option{
		expr.Env(types.Map(s)), expr.Patch(nilPropagation{}), expr.Timezone("UTC"),
		expr.DisableBuiltin("now"), expr.DisableBuiltin("repeat"), // no clock; no memory bomb
	}, options...)
	program, err := expr.Compile(text, all...)
	if err != nil {
		at, message := n.ScalarPos(from), err.Error()
		if fault := new(file.Error); errors.As(err, &fault) {
			at, message = place(fault.Location), fault.Message
		}
		faults.Add(at, codeFormula, "formula: "+message)
		return nil
	}
	return &formula{text: text, at: n.ScalarPos(from), program: program}
}

// eval returns the formula's value. A reference through something absent gives
// nil; any other mistake is an error that names the formula.
func (f *formula) eval(env map[string]any) (any, error) {
	value, err := expr.Run(f.program, env)
	if err == nil {
		return value, nil
	}
	reason := err.Error()
	if fault := new(file.Error); errors.As(err, &fault) {
		reason = fault.Message
	}
	return nil, fmt.Errorf("%s: evaluating %q: %s", f.at, f.text, reason)
}

// evalBool is eval for conditions; nil counts as false.
func (f *formula) evalBool(env map[string]any) (bool, error) {
	value, err := f.eval(env)
	if err != nil || value == nil {
		return false, err
	}
	b, ok := value.(bool)
	if !ok {
		return false, fmt.Errorf("%s: %q gives %T, not true or false", f.at, f.text, value)
	}
	return b, nil
}

// nilPropagation makes every a.b a nil when a is nil.
type nilPropagation struct{}

// Visit wraps each member access, inner ones first, in a chain of its own.
func (nilPropagation) Visit(node *ast.Node) {
	member, ok := (*node).(*ast.MemberNode)
	if !ok || member.Method {
		return
	}
	member.Optional = true
	ast.Patch(node, &ast.ChainNode{Node: member})
}

// checkNames reports every unknown name and field of a formula at once, where
// the compiler stops at the first and knows no nearest name. It returns whether
// all are known; what does not parse is left to the compiler.
func checkNames(text string, s scope, report func(file.Location, string, []string, string)) bool {
	tree, err := parser.Parse(text)
	if err != nil {
		return true
	}
	v := &names{scope: s, report: report, local: map[string]bool{}}
	ast.Walk(&tree.Node, collectLocals{v.local})
	ast.Walk(&tree.Node, v)
	return !v.unknown
}

// collectLocals finds the names that `let` declares.
type collectLocals struct{ local map[string]bool }

func (c collectLocals) Visit(node *ast.Node) {
	if let, ok := (*node).(*ast.VariableDeclaratorNode); ok {
		c.local[let.Name] = true
	}
}

type names struct {
	scope   scope
	local   map[string]bool
	report  func(file.Location, string, []string, string)
	unknown bool
}

// Visit checks one node.
func (v *names) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		if _, ok := v.scope[n.Value]; ok || v.local[n.Value] || n.Value == "$env" || slices.Contains(builtin.Names, n.Value) {
			return
		}
		v.unknown = true
		v.report(n.Location(), fmt.Sprintf("unknown name %q", n.Value), slices.Sorted(maps.Keys(v.scope)), n.Value)
	case *ast.MemberNode:
		fields, ok := v.typeOf(n.Node).(types.Map)
		name, isName := n.Property.(*ast.StringNode)
		if !ok || !isName || fields[name.Value] != nil {
			return
		}
		v.unknown = true
		v.report(n.Property.Location(), fmt.Sprintf("%s has no field %q", n.Node, name.Value), slices.Sorted(maps.Keys(fields)), name.Value)
	}
}

// typeOf is the declared type of a chain of fields, nil when it is something else.
func (v *names) typeOf(node ast.Node) types.Type {
	switch n := node.(type) {
	case *ast.IdentifierNode:
		if !v.local[n.Value] {
			return v.scope[n.Value]
		}
	case *ast.ChainNode:
		return v.typeOf(n.Node)
	case *ast.MemberNode:
		if fields, ok := v.typeOf(n.Node).(types.Map); ok {
			if name, ok := n.Property.(*ast.StringNode); ok {
				return fields[name.Value]
			}
		}
	}
	return nil
}

// runeOffset turns an offset in runes into one in bytes.
func runeOffset(text string, runes int) int {
	at := 0
	for ; runes > 0 && at < len(text); runes-- {
		_, size := utf8.DecodeRuneInString(text[at:])
		at += size
	}
	return at
}
