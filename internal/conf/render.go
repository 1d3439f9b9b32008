package conf

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// drawWidth is how many runes of a long source line are drawn around the caret.
const drawWidth = 140

// Text writes the faults for people: one line each, the source line with a caret
// under the column, and the hint. It returns the first error of w.
func (f *Faults) Text(w io.Writer) error {
	for _, fault := range f.list {
		if _, err := io.WriteString(w, f.draw(fault)); err != nil {
			return fmt.Errorf("writing faults: %w", err)
		}
	}
	return nil
}

func (f *Faults) draw(fault Fault) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s [%s]\n", fault.Error(), fault.Code)
	number := strconv.Itoa(fault.Pos.Line)
	if s := f.sources[fault.Pos.File]; s != nil && fault.Pos.Line > 0 {
		text, caret := excerpt(s.drawable(fault.Pos.Line), fault.Pos.Column)
		fmt.Fprintf(&b, "  %s | %s\n", number, text)
		if fault.Pos.Column > 0 {
			fmt.Fprintf(&b, "  %*s | %s^\n", len(number), "", caret)
		}
	}
	if fault.Hint != "" {
		fmt.Fprintf(&b, "  %*s = %s\n", len(number), "", fault.Hint)
	}
	return b.String()
}

// excerpt returns the part of a line around column and the white space that
// brings a caret under it: tabs stay tabs, so both lines indent alike.
func excerpt(line []rune, column int) (text, caret string) {
	at := max(0, column-1)
	lead, tail := "", ""
	if at > drawWidth && len(line) > drawWidth {
		from := min(at-drawWidth/2, len(line))
		line, at, lead = line[from:], at-from, "…"
	}
	if len(line) > drawWidth && at <= drawWidth {
		line, tail = line[:drawWidth], "…"
	}
	var pad strings.Builder
	pad.WriteString(strings.Repeat(" ", len([]rune(lead))))
	for i := range min(at, len(line)) {
		if line[i] == '\t' {
			pad.WriteByte('\t')
		} else {
			pad.WriteByte(' ')
		}
	}
	// A hidden value ends the line early; the caret then stands at its mask.
	return lead + string(line) + tail, pad.String()
}

// faultJSON is the wire form of a fault; its names are stable.
type faultJSON struct {
	File     string `json:"file"`
	Line     int    `json:"line"`
	Column   int    `json:"column"`
	Severity string `json:"severity"`
	Code     string `json:"code"`
	Message  string `json:"message"`
	Near     string `json:"near,omitempty"`
	Hint     string `json:"hint,omitempty"`
}

// MarshalJSON returns an array of faults in their order, empty when there are none.
func (f *Faults) MarshalJSON() ([]byte, error) {
	out := make([]faultJSON, len(f.list))
	for i, x := range f.list {
		out[i] = faultJSON{
			File: x.Pos.File, Line: x.Pos.Line, Column: x.Pos.Column, Severity: x.Severity.String(),
			Code: x.Code, Message: x.Message, Near: x.Near, Hint: x.Hint,
		}
	}
	return json.Marshal(out)
}
