package conf

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// builder turns the library's tree into nodes, so that nothing outside this
// package depends on the library or its oddities.
type builder struct {
	file   *File
	faults *Faults
}

func (b *builder) pos(t *token.Token) Pos {
	if t == nil || t.Position == nil {
		return b.file.Pos(1, 1)
	}
	return b.file.Pos(max(1, t.Position.Line), max(1, t.Position.Column))
}

func (b *builder) node(n ast.Node, depth int) *Node {
	if depth > maxDepth { // tooDeep counts by columns; this bound does not depend on layout
		at := b.pos(n.GetToken())
		b.faults.Add(at, CodeTooDeep, fmt.Sprintf("nested deeper than %d levels", maxDepth))
		return &Node{file: b.file, at: at, broken: true}
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		at := b.pos(n.Start)
		if !n.IsFlowStyle && len(n.Values) > 0 {
			at = b.pos(n.Values[0].Key.GetToken())
		}
		return b.mapping(at, n.Values, depth)
	case *ast.MappingValueNode:
		return b.mapping(b.pos(n.Key.GetToken()), []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		out := &Node{file: b.file, kind: List, at: b.pos(n.Start)}
		for _, v := range n.Values {
			if joined := b.joined(v); joined != nil {
				out.items = append(out.items, joined)
				continue
			}
			out.items = append(out.items, b.node(v, depth+1))
		}
		return out
	case *ast.NullNode:
		text := n.Token.Value
		if n.Token.Type == token.ImplicitNullType {
			text = ""
		}
		return &Node{file: b.file, kind: Null, at: b.pos(n.Token), text: text}
	case *ast.LiteralNode:
		style := literal
		if n.Start.Type == token.FoldedType {
			style = folded
		}
		return b.scalar(b.pos(n.Start), n.Value.Value, style)
	case ast.ScalarNode:
		t := n.GetToken()
		style := plain
		switch t.Type {
		case token.SingleQuoteType:
			style = singleQuoted
		case token.DoubleQuoteType:
			style = doubleQuoted
		}
		return b.scalar(b.pos(t), t.Value, style)
	default:
		at := b.pos(n.GetToken())
		b.faults.Add(at, CodeSyntax, "this YAML construct is not used here", Hint("write plain keys, values and lists"))
		return &Node{file: b.file, at: at, broken: true}
	}
}

// joined returns the scalar of a list's entry such as kafka1:9092, which the library takes for a map inside {...}.
// YAML makes a map of it only where white space follows the colon.
func (b *builder) joined(n ast.Node) *Node {
	m, ok := n.(*ast.MappingNode)
	var v *ast.MappingValueNode
	if ok && len(m.Values) == 1 && m.Start.Type != token.MappingStartType {
		v = m.Values[0]
	} else if v, ok = n.(*ast.MappingValueNode); !ok {
		return nil
	}
	key, colon, value := v.Key.GetToken(), v.Start, v.Value.GetToken()
	if key == nil || colon == nil || value == nil || colon.Position.Line != value.Position.Line || colon.Position.Column+1 != value.Position.Column {
		return nil
	}
	if _, scalar := v.Value.(ast.ScalarNode); !scalar || key.Type == token.DoubleQuoteType || key.Type == token.SingleQuoteType {
		return nil
	}
	return b.scalar(b.pos(key), key.Value+":"+value.Value, plain)
}

func (b *builder) scalar(at Pos, text string, s style) *Node {
	text, patched := restore(text)
	n := &Node{file: b.file, kind: Scalar, at: at, text: text, style: s, broken: patched}
	if _, ok := locate(n); !ok && !patched {
		n.broken = true
		b.faults.Add(at, CodeSyntax, "this value cannot be read as it is written", Hint("put it into quotes, without tabs"))
	}
	return n
}

func (b *builder) mapping(at Pos, values []*ast.MappingValueNode, depth int) *Node {
	out := &Node{file: b.file, kind: Map, at: at, fields: make(map[string]*Node, len(values))}
	for _, v := range values {
		name, keyAt, ok := b.key(v.Key)
		if !ok {
			continue
		}
		if first, twice := out.fields[name]; twice {
			b.faults.Add(keyAt, CodeDuplicateKey, fmt.Sprintf("key %q stands here for the second time", name),
				Hint("the first is in line %d, column %d; remove one", first.keyAt.Line, first.keyAt.Column))
			continue
		}
		value := b.node(v.Value, depth+1)
		value.name, value.keyAt = name, keyAt
		if value.kind == Null && value.text == "" {
			value.at = keyAt
		}
		out.keys = append(out.keys, name)
		out.fields[name] = value
	}
	return out
}

// key returns the text of a key. The keys true, null and 1 are the texts that
// they are written as.
func (b *builder) key(key ast.MapKeyNode) (name string, at Pos, ok bool) {
	t := key.GetToken()
	at = b.pos(t)
	switch key.(type) {
	case *ast.MergeKeyNode:
		b.faults.Add(at, CodeAnchor, "merge keys (<<) are not used here", Hint("write the keys where they are needed"))
		return "", at, false
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
	default:
		b.faults.Add(at, CodeKey, "a key must be one plain or quoted word", Hint("write key: value"))
		return "", at, false
	}
	name, patched := restore(t.Value)
	if patched { // reported when it was patched
		return "", at, false
	}
	return name, at, true
}
