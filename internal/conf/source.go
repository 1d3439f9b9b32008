package conf

import (
	"bytes"
	"regexp"
	"strings"
	"unicode/utf8"
)

// source is the text of one file, kept by lines for drawing faults.
type source struct {
	path   string
	lines  []string       // without line ends
	rows   [][]rune       // the same, by columns
	hidden map[int]int    // line -> first column that must not be drawn
	drawn  map[int][]rune // what drawable made of a line
}

func newSource(path string, text []byte) *source {
	s := &source{path: path, lines: strings.Split(string(normalise(text)), "\n")}
	s.rows = make([][]rune, len(s.lines))
	for i, line := range s.lines {
		s.rows[i] = []rune(line)
	}
	return s
}

// normalise removes a byte order mark and makes every line end a single \n.
// Lines and columns stay what an editor shows: both marks have no width, and a
// carriage return only ever stands at the end of a line.
func normalise(text []byte) []byte {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if bytes.IndexByte(text, '\r') < 0 {
		return text
	}
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(text, []byte("\r"), []byte("\n"))
}

func (s *source) hide(line, column int) {
	delete(s.drawn, line)
	if s.hidden == nil {
		s.hidden = make(map[int]int)
	}
	if was, ok := s.hidden[line]; !ok || column < was {
		s.hidden[line] = max(column, 1)
	}
}

// secretLine finds values that are probably secrets whatever the fault on their
// line is about: a misspelt key hides its type from Decode.
var secretLine = regexp.MustCompile(`(?i)(pass(word|wd|phrase)?|pwd|secret|token|credentials?|(api|private)_?key)[a-z0-9_]*["']?\s*[:=]\s*(\S.*)$`)

// addressPassword finds the password of an address such as postgres://user:password@host.
var addressPassword = regexp.MustCompile(`://[^/\s:@]*:([^/\s@]+)@`)

// drawable returns the runes of a line as they may be shown: without control
// characters, which could move a terminal's cursor, and without secrets.
func (s *source) drawable(line int) []rune {
	if line < 1 || line > len(s.lines) {
		return nil
	}
	if runes, ok := s.drawn[line]; ok {
		return runes
	}
	text := s.lines[line-1]
	cut := -1
	if m := secretLine.FindStringSubmatchIndex(text); m != nil {
		if value := text[m[8]:m[9]]; !isReference(value) {
			cut = m[8]
		}
	}
	if m := addressPassword.FindStringSubmatchIndex(text); m != nil && (cut < 0 || m[2] < cut) {
		cut = m[2]
	}
	if column, ok := s.hidden[line]; ok {
		if at := byteOffset(text, column); cut < 0 || at < cut {
			cut = at
		}
	}
	if cut >= 0 {
		text = text[:cut] + mask
	}
	runes := []rune(text)
	for i, r := range runes {
		if r != '\t' && (r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || isDirectional(r)) {
			runes[i] = utf8.RuneError
		}
	}
	if s.drawn == nil {
		s.drawn = make(map[int][]rune)
	}
	s.drawn[line] = runes
	return runes
}

// isDirectional says whether r reorders the text around it when shown.
func isDirectional(r rune) bool {
	return r == 0x061c || r == 0x200e || r == 0x200f || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069)
}

// byteOffset returns the byte offset of a 1-based rune column, at most len(text).
func byteOffset(text string, column int) int {
	n := 1
	for at := range text {
		if n >= column {
			return at
		}
		n++
	}
	return len(text)
}
