package conf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	maxBytes  = 4 << 20 // a plant's longest file is under 100 kB; lists belong into CSV
	maxDepth  = 64
	maxTries  = 40 // scans of a file: each finds one more syntax fault
	largeFile = 256 << 10
)

// File is one parsed file.
type File struct {
	Path string
	Root *Node // never nil; Missing when the file could not be parsed

	source   *source
	comments map[int]comment // by line
}

type comment struct {
	text string
	at   Pos
}

// Dir returns the directory that relative paths in the file refer to.
func (f *File) Dir() string { return filepath.Dir(f.Path) }

// Pos returns a place in the file; line and column begin at 1.
func (f *File) Pos(line, column int) Pos { return Pos{File: f.Path, Line: line, Column: column} }

// ParseFile reads and parses a file. A file that cannot be read is a fault too.
func ParseFile(path string, faults *Faults) *File {
	src, err := readLimited(path, maxBytes)
	if err != nil {
		faults.Add(Pos{File: path}, CodeUnreadable, err.Error(), Hint("check the path and its permissions"))
		f := &File{Path: path, source: newSource(path, nil)}
		f.Root = &Node{file: f, at: Pos{File: path}, broken: true}
		return f
	}
	return Parse(path, src, faults)
}

// readLimited reads at most limit+1 bytes, so that a caller can see the excess.
func readLimited(path string, limit int64) (_ []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, limit+1))
}

// Parse parses one YAML document and records all its faults. It keeps no
// reference to src. The result is usable even after faults: what they touched is
// marked so that Decode does not report it again.
func Parse(path string, src []byte, faults *Faults) *File {
	f := &File{Path: path, comments: make(map[int]comment)}
	f.Root = &Node{file: f, at: Pos{File: path}, broken: true}
	if len(src) > maxBytes {
		f.source = newSource(path, nil)
		faults.Add(Pos{File: path}, CodeTooLarge, fmt.Sprintf("the file is larger than %d MiB", maxBytes>>20),
			Hint("move long lists into a CSV file and refer to it"))
		return f
	}
	f.source = newSource(path, src)
	faults.register(f.source)
	if !checkText(f.source, faults) {
		return f
	}
	p := &reader{file: f, faults: faults}
	for _, row := range f.source.rows {
		p.lines = append(p.lines, slices.Clone(row)) // patched; the source is not
	}
	if body := p.read(); body != nil {
		b := builder{file: f, faults: faults}
		f.Root = b.node(body, 0)
	}
	return f
}

// checkText refuses what is not UTF-8 text. It reports the first place only:
// one wrong encoding has one cause.
func checkText(s *source, faults *Faults) bool {
	for i, line := range s.lines {
		column := 0
		for at, r := range line {
			column++
			pos := Pos{File: s.path, Line: i + 1, Column: column}
			if r == utf8.RuneError {
				if _, size := utf8.DecodeRuneInString(line[at:]); size == 1 {
					faults.Add(pos, CodeEncoding, fmt.Sprintf("byte 0x%02X is not UTF-8", line[at]),
						Hint("save the file as UTF-8 (it looks like Windows-1252 or UTF-16)"))
					return false
				}
			}
			if r != '\t' && (r < ' ' || r == 0x7f || isPlaceholder(r)) {
				faults.Add(pos, CodeEncoding, fmt.Sprintf("control character U+%04X", r), Hint("remove it"))
				return false
			}
		}
	}
	return true
}

// reader brings a text to a syntax tree. What is reported as a fault is then
// patched in lines, rune by rune, so that the rest is parsed with right places.
type reader struct {
	file   *File
	faults *Faults
	lines  [][]rune
}

// read returns the root of the only document, or nil after faults or for an empty file.
func (p *reader) read() ast.Node {
	tries := maxTries
	if len(p.text()) > largeFile {
		tries = 4 // a scan of the largest file takes seconds
	}
	for range tries {
		tokens, ok := p.tokens()
		if !ok || p.tooDeep(tokens) {
			return nil
		}
		if p.patchTokens(tokens) {
			continue
		}
		tree, err := parseTokens(tokens)
		if err == nil {
			p.comments(tokens)
			return p.document(tree)
		}
		if !p.syntax(err, tokens) {
			return nil
		}
	}
	return nil
}

func (p *reader) text() string {
	var b strings.Builder
	for i, line := range p.lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(string(line))
	}
	return b.String()
}

// tokens scans the text. The library is given whatever people write, so its
// panics become faults of the file.
func (p *reader) tokens() (tokens token.Tokens, ok bool) {
	defer func() {
		if r := recover(); r != nil {
			p.faults.Add(Pos{File: p.file.Path}, CodeSyntax, "not valid YAML")
			ok = false
		}
	}()
	return lexer.Tokenize(p.text()), true
}

func parseTokens(tokens token.Tokens) (f *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("parsing YAML: %v", r)
		}
	}()
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// document returns the body of the only document; a file without one is empty.
func (p *reader) document(tree *ast.File) ast.Node {
	var body ast.Node
	for _, doc := range tree.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType || doc.Body.Type() == ast.CommentGroupType {
			continue
		}
		if doc.Body.Type() == ast.DirectiveType {
			continue
		}
		if body != nil {
			p.faults.Add(p.begin(doc.Body), CodeDocuments, "a second document begins here",
				Hint(`keep one document per file: remove the "---" above`))
			break
		}
		body = doc.Body
	}
	if body == nil {
		p.faults.Add(p.file.Pos(1, 1), CodeEmpty, "the file is empty")
	}
	return body
}

// begin returns the place where a node begins; the library's token of a block map
// is the colon of its first key.
func (p *reader) begin(n ast.Node) Pos {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return p.pos(m.Values[0].Key.GetToken())
	}
	return p.pos(n.GetToken())
}

func (p *reader) pos(t *token.Token) Pos {
	if t == nil || t.Position == nil {
		return p.file.Pos(1, 1)
	}
	return p.file.Pos(max(1, t.Position.Line), max(1, t.Position.Column))
}

// comments keeps the comments by line for Node.Comment.
func (p *reader) comments(tokens token.Tokens) {
	for _, t := range tokens {
		if t.Type == token.CommentType {
			at := p.pos(t)
			p.file.comments[at.Line] = comment{text: "#" + strings.TrimRight(t.Value, "\r\n"), at: at}
		}
	}
}

// tooDeep bounds the nesting before the recursive parser sees the tokens.
func (p *reader) tooDeep(tokens token.Tokens) bool {
	flow := 0
	var columns []int // of the block structures around a token
	for i, t := range tokens {
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType:
			columns = nest(columns, t.Position.Column)
		case token.MappingValueType:
			if i > 0 && flow <= 0 {
				columns = nest(columns, tokens[i-1].Position.Column)
			}
		}
		if max(flow, 0)+len(columns) > maxDepth {
			p.faults.Add(p.pos(t), CodeTooDeep, fmt.Sprintf("nested deeper than %d levels", maxDepth),
				Hint("no file of a plant needs this depth; check the indentation"))
			return true
		}
	}
	return false
}

func nest(columns []int, column int) []int {
	for len(columns) > 0 && columns[len(columns)-1] > column {
		columns = columns[:len(columns)-1]
	}
	if len(columns) == 0 || columns[len(columns)-1] < column {
		columns = append(columns, column)
	}
	return columns
}

// syntaxToken returns the message and token of the library's syntax error.
func syntaxToken(err error) (string, *token.Token) {
	var e *yaml.SyntaxError
	if errors.As(err, &e) {
		return e.Message, e.Token
	}
	return "", nil
}
