package csv

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/plantloom/plantloom/internal/conf"
)

// scanner splits a text into records. Lines and columns begin at 1, columns
// count runes.
type scanner struct {
	path      string
	text      string
	at        int // byte offset
	line      int
	column    int
	delimiter rune
	faults    *conf.Faults
}

func newScanner(path string, src []byte, faults *conf.Faults) *scanner {
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	src = bytes.ReplaceAll(src, []byte("\r\n"), []byte("\n"))
	src = bytes.ReplaceAll(src, []byte("\r"), []byte("\n"))
	return &scanner{path: path, text: string(src), line: 1, column: 1, faults: faults}
}

func (s *scanner) pos() conf.Pos { return conf.Pos{File: s.path, Line: s.line, Column: s.column} }

// checkText reports the first byte that is not UTF-8 text: spreadsheets save as
// Windows-1252 or UTF-16 unless told otherwise.
func (s *scanner) checkText() bool {
	line, column := 1, 0
	for i, r := range s.text {
		column++
		if r == '\n' {
			line, column = line+1, 0
			continue
		}
		pos := conf.Pos{File: s.path, Line: line, Column: column}
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s.text[i:]); size == 1 {
				s.faults.Add(pos, conf.CodeEncoding, fmt.Sprintf("byte 0x%02X is not UTF-8", s.text[i]),
					conf.Hint(`save it as "CSV UTF-8" (it looks like Windows-1252 or UTF-16)`))
				return false
			}
		}
		if r != '\t' && (r < ' ' || r == 0x7f) {
			s.faults.Add(pos, conf.CodeEncoding, fmt.Sprintf("control character U+%04X", r), conf.Hint("remove it"))
			return false
		}
	}
	return true
}

// detect returns the delimiter that the header has most of, outside quotes; a
// header of one column is taken to be separated by commas.
func (s *scanner) detect() rune {
	counts := map[rune]int{}
	quoted := false
	header := strings.TrimLeft(s.text, "\n")
	for _, r := range header {
		if r == '"' {
			quoted = !quoted
		}
		if r == '\n' && !quoted {
			break
		}
		if !quoted {
			counts[r]++
		}
	}
	best := ','
	for _, r := range []rune{';', '\t'} {
		if counts[r] > counts[best] {
			best = r
		}
	}
	return best
}

// peek returns the next rune, or -1 at the end.
func (s *scanner) peek() rune {
	if s.at >= len(s.text) {
		return -1
	}
	r, _ := utf8.DecodeRuneInString(s.text[s.at:])
	return r
}

func (s *scanner) next() rune {
	r, size := utf8.DecodeRuneInString(s.text[s.at:])
	s.at += size
	s.column++
	if r == '\n' {
		s.line, s.column = s.line+1, 1
	}
	return r
}

// record returns the cells of the next row that is not blank, and false at the end.
func (s *scanner) record() ([]Cell, bool) {
	for s.peek() == '\n' {
		s.next()
	}
	if s.peek() < 0 {
		return nil, false
	}
	var cells []Cell
	for {
		cells = append(cells, s.cell())
		switch s.peek() {
		case s.delimiter:
			s.next()
		case '\n':
			s.next()
			return cells, true
		default:
			return cells, true
		}
	}
}

func (s *scanner) cell() Cell {
	pos := s.pos()
	if s.peek() == '"' {
		return s.quoted(pos)
	}
	from := s.at
	for r := s.peek(); r != s.delimiter && r != '\n' && r >= 0; r = s.peek() {
		s.next()
	}
	return Cell{Text: s.text[from:s.at], Pos: pos}
}

// quoted reads a cell in double quotes, in which "" is a quote and line ends
// are text.
func (s *scanner) quoted(pos conf.Pos) Cell {
	var b strings.Builder
	s.next()
	for {
		r := s.peek()
		if r < 0 {
			s.faults.Add(pos, CodeQuote, "the quote that begins here is never closed",
				conf.Hint(`close it; a quote inside a quoted cell is written ""`))
			return Cell{Text: b.String(), Pos: pos}
		}
		s.next()
		if r != '"' {
			b.WriteRune(r)
			continue
		}
		if s.peek() != '"' {
			break
		}
		b.WriteRune(s.next())
	}
	if r := s.peek(); r != s.delimiter && r != '\n' && r >= 0 {
		s.faults.Add(s.pos(), CodeQuote, "text stands behind a closed quote",
			conf.Hint(`a quote inside a quoted cell is written ""`))
		for r := s.peek(); r != s.delimiter && r != '\n' && r >= 0; r = s.peek() {
			s.next()
		}
	}
	return Cell{Text: b.String(), Pos: pos}
}
