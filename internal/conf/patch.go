package conf

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/token"
)

// Placeholders stand in the patched text for what was reported. They are Unicode
// noncharacters, which checkText refuses in files, and take exactly one column.
const (
	forBang  = '\uFDD0' // a "!"
	forStar  = '\uFDD1' // a "*"
	forValue = '\uFDD2' // the rest of a line
)

func isPlaceholder(r rune) bool { return r >= 0xFDD0 && r <= 0xFDEF }

// restore turns a patched scalar back into what is written, and says whether it
// was patched.
func restore(text string) (string, bool) {
	if !strings.ContainsFunc(text, isPlaceholder) {
		return text, false
	}
	return strings.NewReplacer(string(forBang), "!", string(forStar), "*", string(forValue), "").Replace(text), true
}

// patchTokens reports tags, anchors, aliases and merge keys and takes them out of
// the text; it says whether it did.
func (p *reader) patchTokens(tokens token.Tokens) bool {
	patched := false
	for i, t := range tokens {
		var next *token.Token
		if i+1 < len(tokens) {
			next = tokens[i+1]
		}
		switch t.Type {
		case token.TagType:
			patched = p.patchTag(t, next) || patched
		case token.AnchorType:
			p.faults.Add(p.pos(t), CodeAnchor, "anchors (&name) are not used here",
				Hint("write the value where it is needed; a value that begins with & goes into quotes"))
			patched = p.blank(t, next) || patched
		case token.AliasType:
			p.faults.Add(p.pos(t), CodeAnchor, "aliases (*name) are not used here",
				Hint("write the value where it is needed; a value that begins with * goes into quotes"))
			patched = p.swap(p.pos(t), '*', forStar) || patched
		}
	}
	return patched
}

// patchTag reports a tag. Where it is all of the value, or the begin of a plain
// one, it stays as text; in front of quotes, brackets and blocks it is blanked.
func (p *reader) patchTag(t, next *token.Token) bool {
	at := p.pos(t)
	p.faults.Add(at, CodeTag, fmt.Sprintf("%q at the begin of a value is a YAML tag, not a part of the value", t.Value),
		Hint(`put the value into quotes; in a formula write "not x" for "!x"`))
	if next != nil && next.Position != nil {
		sameLine := next.Position.Line == at.Line
		structure := next.Type.String() != "" && slices.Contains([]token.Type{
			token.SingleQuoteType, token.DoubleQuoteType, token.MappingStartType, token.SequenceStartType,
			token.LiteralType, token.FoldedType,
		}, next.Type)
		deeper := !sameLine && next.Position.Column > p.indent(at.Line)+1 && next.Type != token.CommentType
		if (sameLine && structure) || deeper {
			return p.blankRunes(at, len([]rune(t.Value)))
		}
	}
	return p.swap(at, '!', forBang)
}

// swap replaces one expected rune by another.
func (p *reader) swap(at Pos, old, new rune) bool {
	if at.Line > len(p.lines) || at.Column > len(p.lines[at.Line-1]) || p.lines[at.Line-1][at.Column-1] != old {
		return false
	}
	p.lines[at.Line-1][at.Column-1] = new
	return true
}

// blank takes an anchor and the name behind it out of the text.
func (p *reader) blank(t, name *token.Token) bool {
	n := 1
	if name != nil && name.Position.Line == t.Position.Line {
		n += len([]rune(name.Value))
	}
	return p.blankRunes(p.pos(t), n)
}

func (p *reader) blankRunes(at Pos, n int) bool {
	if at.Line > len(p.lines) {
		return false
	}
	line, done := p.lines[at.Line-1], false
	for i := at.Column - 1; i < len(line) && n > 0; i, n = i+1, n-1 {
		done = done || line[i] != ' '
		line[i] = ' '
	}
	return done
}

func (p *reader) indent(line int) int {
	if line < 1 || line > len(p.lines) {
		return 0
	}
	return indentOf(p.lines[line-1])
}

// syntax reports the library's syntax error in our words, at the place that a
// person would mend, and says whether the text was patched for another try.
func (p *reader) syntax(err error, tokens token.Tokens) bool {
	message, t := syntaxToken(err)
	at := p.pos(t)
	switch {
	case message == "":
		p.faults.Add(p.file.Pos(1, 1), CodeSyntax, "not valid YAML")
		return false
	case strings.Contains(message, "mapping value is not allowed"):
		return p.colon(at)
	case strings.Contains(message, "reserved character"):
		p.faults.Add(at, CodeReserved, message, Hint("put the value into quotes"))
		return p.patchValue(at)
	case strings.Contains(message, "tab") || strings.Contains(message, "'\t'"):
		p.faults.Add(at, CodeTab, "a tab stands where YAML wants spaces", Hint("indent with spaces"))
		return false
	case strings.Contains(message, "could not find end character"):
		p.faults.Add(at, CodeSyntax, "the quote that begins here is never closed", Hint("close it on the same line"))
		return p.patchValue(at)
	}
	if strings.Contains(message, "escape character") {
		at.Column-- // the library points behind the backslash
		p.faults.Add(at, CodeSyntax, "a backslash in double quotes begins an escape, and this one is unknown",
			Hint(`write \\ for a backslash, or use single quotes`))
		return p.patchValue(at)
	}
	if open := unclosed(tokens, at); open != nil {
		at = p.pos(open)
		p.faults.Add(at, CodeSyntax, fmt.Sprintf("the %q that begins here is not closed", open.Value),
			Hint(`close it, and put "," between its elements`))
		return p.patchValue(at)
	}
	text, hint := "not valid YAML: "+message, "check quotes and indentation"
	switch {
	case strings.Contains(message, "value is not allowed in this context"):
		text, hint = "this stands behind a value that is already complete", "put the whole value into quotes"
	case strings.Contains(message, "block sequence entries are not allowed"):
		text, hint = "a list cannot begin on the line of its key", `put "- " on the next line, or write [a, b]`
	}
	p.faults.Add(at, CodeSyntax, text, Hint("%s", hint))
	return p.patchValue(at)
}

// colon reports ": " inside a plain value, or, where the line has none, the line
// below, whose indentation makes it part of the value.
func (p *reader) colon(at Pos) bool {
	line := p.lines[min(at.Line, len(p.lines))-1]
	from := min(at.Column-1, len(line))
	for i := from; i < len(line); i++ {
		if line[i] == ':' && (i+1 == len(line) || line[i+1] == ' ') {
			p.faults.Add(p.file.Pos(at.Line, i+1), CodeColon, `": " inside a value without quotes begins a map`,
				Hint("put the whole value into single quotes"))
			return p.patchValue(at)
		}
	}
	for i := at.Line; i < len(p.lines); i++ {
		if strings.TrimSpace(string(p.lines[i])) != "" {
			p.faults.Add(p.file.Pos(i+1, p.indent(i+1)+1), CodeSyntax, "this line is indented as if it belonged to the value above",
				Hint("indent it like the keys beside it"))
			return false
		}
	}
	p.faults.Add(at, CodeSyntax, "a map cannot begin here", Hint("check the indentation"))
	return false
}

// patchValue replaces the value around a place by a placeholder, from the key's
// ": " or the "- " in front of it to the end of the line. It refuses where the
// value goes on in the next line: then nothing below can be judged.
func (p *reader) patchValue(at Pos) bool {
	if at.Line > len(p.lines) {
		return false
	}
	line := p.lines[at.Line-1]
	begin := -1
	for i := 0; i+1 < len(line) && i < at.Column-1; i++ {
		if (line[i] == ':' || (line[i] == '-' && strings.TrimSpace(string(line[:i])) == "")) && line[i+1] == ' ' {
			begin = i + 2
			if line[i] == ':' {
				break
			}
		}
	}
	if begin < 0 || begin > at.Column-1 || slices.Contains(line, forValue) {
		return false
	}
	for i := at.Line; i < len(p.lines); i++ {
		if text := strings.TrimFunc(string(p.lines[i]), unicode.IsSpace); text != "" && !strings.HasPrefix(text, "#") {
			if p.indent(i+1) > p.indent(at.Line) {
				return false
			}
			break
		}
	}
	p.lines[at.Line-1] = append(slices.Clone(line[:begin]), forValue)
	return true
}

// unclosed returns the innermost bracket that is open at a place, or nil.
func unclosed(tokens token.Tokens, at Pos) *token.Token {
	var open []*token.Token
	for _, t := range tokens {
		if t.Position.Line > at.Line || (t.Position.Line == at.Line && t.Position.Column > at.Column) {
			break
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			open = append(open, t)
		case token.MappingEndType, token.SequenceEndType:
			if len(open) > 0 {
				open = open[:len(open)-1]
			}
		}
	}
	if len(open) == 0 {
		return nil
	}
	return open[len(open)-1]
}
