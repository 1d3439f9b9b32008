package formula

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
)

// Limits of a formula. They bound parsing, checking and each evaluation.
const (
	MaxText  = 4096 // bytes; bounds the recursion of the parser
	MaxNodes = 500
	MaxDepth = 64
	MaxCost  = 5000 // evaluated nodes, what lets stand for included
)

// Compile checks a formula and lowers it. Every fault goes to env.Report; the result is never nil, and of kind Invalid
// after a fault. A formula needs one pass; the work is bounded by the limits above.
func Compile(text string, env *Env) *Expr {
	c := &checker{env: env, text: text}
	node := c.parse()
	if node == nil {
		return invalid(0)
	}
	e := c.check(node, 0)
	if e.cost > MaxCost && e.Kind != Invalid {
		return c.fail(0, "FORMULA_TOO_LARGE", "", "make less use of lets in lets", "the formula takes %d steps, more than %d", e.cost, MaxCost)
	}
	return e
}

// Canonical returns the formula's text without spaces and comments that mean nothing, or text itself when the checker
// would refuse its form. Equal meaning by form gives equal text: state belongs to it.
func Canonical(text string) string {
	c := &checker{env: &Env{Report: func(Fault) {}}, text: text}
	node, left := c.parse(), MaxNodes
	if node == nil || !bounded(node, &left) {
		return text
	}
	return node.String()
}

// bounded says whether a tree is of the checker's forms and has no more nodes than left. The parser uses the middle of
// a < b < c twice, so that the text of a small tree can be exponentially long.
func bounded(n ast.Node, left *int) bool {
	if *left--; *left < 0 || n == nil {
		return false
	}
	all := func(nodes ...ast.Node) bool {
		for _, x := range nodes {
			if !bounded(x, left) {
				return false
			}
		}
		return true
	}
	switch x := n.(type) {
	case *ast.NilNode, *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.StringNode, *ast.IdentifierNode:
		return true
	case *ast.MemberNode:
		return all(x.Node, x.Property)
	case *ast.ChainNode:
		return all(x.Node)
	case *ast.UnaryNode:
		return all(x.Node)
	case *ast.BinaryNode:
		return all(x.Left, x.Right)
	case *ast.ConditionalNode:
		return all(x.Cond, x.Exp1, x.Exp2)
	case *ast.VariableDeclaratorNode:
		return all(x.Value, x.Expr)
	case *ast.ArrayNode:
		return all(x.Nodes...)
	case *ast.CallNode:
		return all(x.Callee) && all(x.Arguments...)
	case *ast.BuiltinNode:
		return all(x.Arguments...)
	}
	return false
}

type checker struct {
	env    *Env
	text   string
	nodes  int
	locals []*Symbol // of let in formulas, the innermost last
}

func invalid(offset int) *Expr { return &Expr{Kind: Invalid, Offset: offset, slot: -1} }

func (c *checker) fail(offset int, code, near, hint, format string, args ...any) *Expr {
	c.env.Report(Fault{Code: code, Message: fmt.Sprintf(format, args...), Near: near, Hint: hint, Offset: min(offset, len(c.text))})
	return invalid(offset)
}

// parse reads the formula; nil after a fault.
func (c *checker) parse() ast.Node {
	if len(c.text) > MaxText {
		c.fail(0, "FORMULA_TOO_LARGE", "", "split it into lets", "the formula is longer than %d characters", MaxText)
		return nil
	}
	if strings.TrimSpace(c.text) == "" {
		c.fail(0, "FORMULA_SYNTAX", "", "write a formula", "the formula is empty")
		return nil
	}
	if !utf8.ValidString(c.text) {
		c.fail(0, "FORMULA_SYNTAX", "", "save the file as UTF-8", "the formula is not UTF-8 text")
		return nil
	}
	tree, err := parser.Parse(c.text)
	if err == nil && tree.Node != nil {
		return tree.Node
	}
	var e *file.Error
	if !errors.As(err, &e) {
		c.fail(0, "FORMULA_SYNTAX", "", "", "the formula cannot be read: %v", err)
		return nil
	}
	offset, message := c.offset(e.From), e.Message
	if strings.Contains(message, "not terminated") {
		if at, ok := c.openQuote(); ok {
			offset, message = at, "the text is not closed"
		}
	}
	c.fail(offset, "FORMULA_SYNTAX", "", "", "the formula cannot be read: %s", message)
	return nil
}

// offset turns a position in runes into one in bytes.
func (c *checker) offset(runes int) int {
	for i := range c.text {
		if runes <= 0 {
			return i
		}
		runes--
	}
	return len(c.text)
}

// openQuote finds the quote that no other one closes.
func (c *checker) openQuote() (at int, ok bool) {
	for i := 0; i < len(c.text); i++ {
		q := c.text[i]
		if q != '"' && q != '\'' && q != '`' {
			continue
		}
		end := i + 1
		for end < len(c.text) && c.text[end] != q {
			if c.text[end] == '\\' && q != '`' {
				end++
			}
			end++
		}
		if end >= len(c.text) {
			return i, true
		}
		i = end
	}
	return 0, false
}

// at returns the byte at which a node's own token begins.
func (c *checker) at(n ast.Node) int {
	switch x := n.(type) {
	case *ast.ConditionalNode:
		return c.at(x.Cond) // the parser gives it no place of its own
	case *ast.ChainNode:
		return c.at(x.Node)
	}
	return c.offset(n.Location().From)
}

// begin returns the byte at which the whole expression begins.
func (c *checker) begin(n ast.Node) int {
	switch x := n.(type) {
	case *ast.BinaryNode:
		return c.begin(x.Left)
	case *ast.MemberNode:
		return c.begin(x.Node)
	case *ast.ConditionalNode:
		return c.begin(x.Cond)
	case *ast.ChainNode:
		return c.begin(x.Node)
	}
	return c.at(n)
}

// check checks a node and lowers it.
func (c *checker) check(n ast.Node, depth int) *Expr {
	if n == nil {
		return c.fail(0, "FORMULA_SYNTAX", "", "", "the formula cannot be read")
	}
	if c.nodes++; c.nodes == MaxNodes+1 {
		return c.fail(0, "FORMULA_TOO_LARGE", "", "split it into lets", "the formula has more than %d parts", MaxNodes)
	}
	if depth > MaxDepth {
		return c.fail(c.at(n), "FORMULA_TOO_LARGE", "", "split it into lets", "the formula is nested more than %d deep", MaxDepth)
	}
	if c.nodes > MaxNodes {
		return invalid(0)
	}
	e := c.node(n, depth+1)
	if e.Kind != Invalid {
		e.cost++
	}
	return e
}

func (c *checker) node(n ast.Node, depth int) *Expr {
	switch x := n.(type) {
	case *ast.NilNode:
		return &Expr{Kind: Null, Offset: c.at(n), slot: -1}
	case *ast.BoolNode:
		v := x.Value
		return &Expr{Kind: Bool, Offset: c.at(n), slot: -1, Bool: func(*Frame) (bool, bool) { return v, true }}
	case *ast.IntegerNode:
		return intLiteral(int64(x.Value), c.at(n))
	case *ast.FloatNode:
		return floatLiteral(x.Value, c.at(n))
	case *ast.StringNode:
		v := x.Value
		return &Expr{Kind: Text, Offset: c.at(n), slot: -1, Literals: []Literal{{v, c.at(n)}}, Text: func(*Frame) (string, bool) { return v, true }}
	case *ast.IdentifierNode:
		return c.identifier(x)
	case *ast.MemberNode:
		return c.member(x, depth)
	case *ast.ChainNode:
		return c.check(x.Node, depth)
	case *ast.UnaryNode:
		return c.unary(x, depth)
	case *ast.BinaryNode:
		return c.binary(x, depth)
	case *ast.ConditionalNode:
		return c.conditional(x, depth)
	case *ast.VariableDeclaratorNode:
		return c.local(x, depth)
	case *ast.ArrayNode:
		return c.list(x, depth)
	case *ast.CallNode:
		if id, ok := x.Callee.(*ast.IdentifierNode); ok {
			return c.call(id.Value, c.at(n), x.Arguments, depth)
		}
		return c.fail(c.at(n), "UNKNOWN_FUNCTION", "", "functions stand alone, as in round(x, 3)", "values have no functions of their own")
	case *ast.BuiltinNode:
		return c.call(x.Name, c.at(n), x.Arguments, depth)
	}
	return c.fail(c.at(n), "NOT_IN_LANGUAGE", "", "", "%s is not part of the mapping language", describe(n))
}

func describe(n ast.Node) string {
	switch n.(type) {
	case *ast.SliceNode:
		return "a slice"
	case *ast.MapNode:
		return "a map"
	case *ast.PredicateNode, *ast.PointerNode:
		return "a predicate over a list"
	case *ast.SequenceNode:
		return `a sequence with ";"`
	case *ast.BytesNode:
		return "a byte text"
	}
	return "this form"
}

func intLiteral(v int64, offset int) *Expr {
	return &Expr{Kind: Int, Offset: offset, slot: -1, number: &number{integer: true, i: v}, Int: func(*Frame) (int64, bool) { return v, true }}
}

func floatLiteral(v float64, offset int) *Expr {
	return &Expr{Kind: Float, Offset: offset, slot: -1, number: &number{f: v}, Float: func(*Frame) (float64, bool) { return v, true }}
}
