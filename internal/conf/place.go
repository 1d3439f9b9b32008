package conf

import (
	"sort"
	"strings"
	"unicode/utf8"
)

// places maps the byte offsets of a scalar's text to places in the file.
type places struct {
	file    string
	offsets []int // where runes of the text begin, ascending; the last is len(text)
	lines   []int
	columns []int
}

func (p *places) at(offset int) Pos {
	i := max(0, sort.SearchInts(p.offsets, offset+1)-1)
	return Pos{File: p.file, Line: p.lines[i], Column: p.columns[i]}
}

func (p *places) add(offset, line, column int) {
	p.offsets = append(p.offsets, offset)
	p.lines = append(p.lines, line+1)
	p.columns = append(p.columns, column+1)
}

// aligner walks a scalar's text and its source side by side. Line and column
// count from 0. Where both disagree (the library folded otherwise than this walk
// expects) it stays at the last certain place, which is never wrong by much.
type aligner struct {
	rows   [][]rune
	line   int
	row    []rune
	column int
	indent int // columns that begin each further line of a block and are no text
	style  style
	lost   bool // text and source disagree
}

// locate aligns a scalar with the file it came from. ok is false where its text
// is not what the file says: the library drops tabs inside plain values, for one.
func locate(n *Node) (_ *places, ok bool) {
	p := &places{file: n.at.File}
	a := &aligner{rows: n.file.source.rows, style: n.style}
	a.move(n.at.Line-1, n.at.Column-1)
	switch n.style {
	case singleQuoted, doubleQuoted:
		a.column++
	case literal, folded:
		a.enterBlock(n.text)
	}
	for at := 0; at < len(n.text); {
		r, size := utf8.DecodeRuneInString(n.text[at:])
		p.add(at, a.line, a.column)
		if r == ' ' || r == '\n' || r == '\t' {
			if run := a.fold(n.text[at:]); run > 0 {
				for i := 1; i < run; i++ { // folded white space is ASCII
					p.add(at+i, a.line, a.column)
				}
				at += run
				continue
			}
		}
		a.step(r)
		at += size
	}
	p.add(len(n.text), a.line, a.column)
	return p, !a.lost
}

func (a *aligner) move(line, column int) {
	a.line, a.column, a.row = line, column, nil
	if line < len(a.rows) {
		a.row = a.rows[line]
	}
}

// indentOf returns the number of blanks that a line begins with.
func indentOf(row []rune) int {
	n := 0
	for n < len(row) && row[n] == ' ' {
		n++
	}
	return n
}

func (a *aligner) ended() bool { return a.column >= len(a.row) }

// enterBlock moves from the "|" or ">" to the first character of the text. The
// block's indentation is what its first line has more of than the text.
func (a *aligner) enterBlock(text string) {
	first := a.line + 1
	for first < len(a.rows) && indentOf(a.rows[first]) == len(a.rows[first]) {
		first++
	}
	if first < len(a.rows) {
		a.indent = indentOf(a.rows[first])
	}
	for line := range strings.Lines(text) {
		if own := len(line) - len(strings.TrimLeft(line, " ")); strings.TrimSpace(line) != "" {
			a.indent = max(0, a.indent-own)
			break
		}
	}
	a.nextLine()
}

func (a *aligner) nextLine() {
	if a.line+1 >= len(a.rows) {
		a.column = len(a.row)
		return
	}
	a.move(a.line+1, 0)
	a.column = min(a.indent, len(a.row))
}

// fold consumes the white space at the begin of text that stands for a line
// break, and returns its length in bytes; 0 when no line ends here.
func (a *aligner) fold(text string) int {
	run := len(text) - len(strings.TrimLeft(text, " \n\t"))
	switch a.style {
	case literal:
		if text[0] != '\n' || !a.ended() {
			return 0
		}
		a.nextLine()
		return 1
	case folded:
		return a.foldBlock(text, run)
	}
	rest := min(a.column, len(a.row))
	for rest < len(a.row) && (a.row[rest] == ' ' || a.row[rest] == '\t') {
		rest++
	}
	escapedBreak := a.style == doubleQuoted && rest == len(a.row)-1 && a.row[rest] == '\\'
	if rest < len(a.row) && !escapedBreak {
		return 0
	}
	for a.line+1 < len(a.rows) {
		a.nextLine()
		for !a.ended() && (a.row[a.column] == ' ' || a.row[a.column] == '\t') {
			a.column++
		}
		if !a.ended() {
			break
		}
	}
	return run
}

// foldBlock handles the line breaks of a ">" block: one break is a blank in the
// text, further ones are breaks.
func (a *aligner) foldBlock(text string, run int) int {
	if !a.ended() {
		return 0
	}
	breaks := 0
	for breaks < run && (text[breaks] == '\n' || (breaks == 0 && text[0] == ' ')) {
		breaks++
	}
	for a.line+1 < len(a.rows) {
		a.nextLine()
		if !a.ended() {
			break
		}
	}
	return breaks
}

// step moves over the source of one rune of text.
func (a *aligner) step(r rune) {
	if a.style == doubleQuoted && !a.ended() && a.row[a.column] == '\\' {
		if a.column+1 < len(a.row) {
			a.column += a.escape()
			return
		}
		a.nextLine() // an escaped line break is no text
		for !a.ended() && (a.row[a.column] == ' ' || a.row[a.column] == '\t') {
			a.column++
		}
	}
	if a.ended() || a.row[a.column] != r {
		a.lost = true
		return
	}
	a.column++
	if a.style == singleQuoted && r == '\'' && !a.ended() && a.row[a.column] == '\'' {
		a.column++
	}
}

// escape returns the length in runes of the escape sequence here.
func (a *aligner) escape() int {
	switch a.row[a.column+1] {
	case 'x':
		return 4
	case 'u':
		return 6
	case 'U':
		return 10
	}
	return 2
}
