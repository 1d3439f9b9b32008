package conf

import (
	"slices"
	"strings"
)

// Kind is what a node is, before anybody asks for a type.
type Kind uint8

// The kinds of nodes.
const (
	Missing Kind = iota // nothing: what Field returns for an absent key
	Null                // a key without a value, or null, or ~
	Scalar              // one value, plain, quoted or as a block
	List
	Map
)

// String returns the kind as it is named to users.
func (k Kind) String() string {
	return [...]string{"nothing", "nothing", "a single value", "a list", "a map"}[k]
}

type style uint8

const (
	plain style = iota
	singleQuoted
	doubleQuoted
	literal
	folded
)

// Node is a value in a file with its place. Nodes are made by Parse and do not
// change. All methods work on nil and on missing nodes, so that a chain of Field
// calls needs no checks in between.
type Node struct {
	file   *File
	kind   Kind
	name   string // the key in front of it, or empty
	at     Pos    // of the value
	keyAt  Pos    // of the key in front of it, zero for items and the root
	text   string
	style  style
	broken bool // a fault here is already reported: Decode keeps quiet
	keys   []string
	fields map[string]*Node
	items  []*Node
}

// Kind returns what the node is.
func (n *Node) Kind() Kind {
	if n == nil {
		return Missing
	}
	return n.kind
}

// Exists says whether something stands here, a null included.
func (n *Node) Exists() bool { return n.Kind() != Missing }

// Broken says whether a fault about this very value is already reported, so that
// a second one would only confuse.
func (n *Node) Broken() bool { return n != nil && n.broken }

// Name returns the key in front of the value, or "".
func (n *Node) Name() string {
	if n == nil {
		return ""
	}
	return n.name
}

// File returns the file that the node is in, nil for a nil node.
func (n *Node) File() *File {
	if n == nil {
		return nil
	}
	return n.file
}

// Pos returns the place of the key in front of the value, or of the value where
// it has no key. For a missing node it is the place of what should contain it.
func (n *Node) Pos() Pos {
	if n == nil {
		return Pos{}
	}
	if n.keyAt.Line > 0 {
		return n.keyAt
	}
	return n.at
}

// ValuePos returns the place of the value itself: of its quote when quoted, of
// its "|" or ">" when a block. A key without a value has the key's place.
func (n *Node) ValuePos() Pos {
	if n == nil {
		return Pos{}
	}
	return n.at
}

// Keys returns the keys of a map in the order of the file.
func (n *Node) Keys() []string {
	if n == nil {
		return nil
	}
	return slices.Clone(n.keys)
}

// Field returns the value of a key, or a missing node placed at n.
func (n *Node) Field(name string) *Node {
	if n == nil {
		return nil
	}
	if f, ok := n.fields[name]; ok {
		return f
	}
	return &Node{file: n.file, name: name, at: n.Pos(), broken: n.broken}
}

// Items returns the elements of a list in order; other nodes have none. The
// slice is the caller's.
func (n *Node) Items() []*Node {
	if n == nil {
		return nil
	}
	return slices.Clone(n.items)
}

// Text returns the text of a scalar as it is written, after YAML's quoting and
// folding: 0017 stays "0017", true stays "true". Other nodes have none.
func (n *Node) Text() string {
	if n == nil {
		return ""
	}
	return n.text
}

// IsQuoted says whether the scalar is in single or double quotes.
func (n *Node) IsQuoted() bool {
	return n != nil && (n.style == singleQuoted || n.style == doubleQuoted)
}

// IsBlock says whether the scalar is a "|" or ">" block.
func (n *Node) IsBlock() bool {
	return n != nil && (n.style == literal || n.style == folded)
}

// Tag returns the YAML tag that a plain value begins with, such as "!run", or "".
// Parse reports every tag as a fault; who knows better words can look here.
func (n *Node) Tag() string {
	if n == nil || !n.broken || n.style != plain || !strings.HasPrefix(n.text, "!") {
		return ""
	}
	tag, _, _ := strings.Cut(n.text, " ")
	return tag
}

// Comment returns the comment that ends the last line of a scalar, with its "#",
// and its place; ok is false when there is none. In a plain formula a comment is
// often text that was meant to be part of it.
func (n *Node) Comment() (text string, at Pos, ok bool) {
	if n.Kind() != Scalar || n.IsBlock() {
		return "", Pos{}, false
	}
	c, ok := n.file.comments[n.ScalarPos(len(n.text)).Line]
	return c.text, c.at, ok
}

// ScalarPos returns the place in the file of the byte at offset of Text, for
// plain, quoted and block scalars. The offset len(Text()) is the place just
// after the last character. Offsets outside are brought to the nearest end.
func (n *Node) ScalarPos(offset int) Pos {
	if n == nil || n.kind != Scalar {
		return n.ValuePos()
	}
	p, _ := locate(n)
	return p.at(offset)
}
