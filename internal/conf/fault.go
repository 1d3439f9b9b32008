package conf

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Pos is a place in a file. Line and Column begin at 1; Column counts runes,
// so that it agrees with what editors show. The zero Line means the whole file.
type Pos struct {
	File   string
	Line   int
	Column int
}

// String returns file:line:column, or only what is known of it.
func (p Pos) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	default:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	}
}

func (p Pos) compare(q Pos) int {
	return cmp.Or(strings.Compare(p.File, q.File), cmp.Compare(p.Line, q.Line), cmp.Compare(p.Column, q.Column))
}

// Severity says whether a fault keeps the plant from starting.
type Severity uint8

const (
	// SeverityError is the zero value: a fault is an error unless it says otherwise.
	SeverityError Severity = iota
	// SeverityWarning is shown and does not make Err return an error.
	SeverityWarning
)

// String returns "error" or "warning".
func (s Severity) String() string {
	if s == SeverityWarning {
		return "warning"
	}
	return "error"
}

// Fault is one thing that a person must mend in a file.
type Fault struct {
	Pos      Pos
	Severity Severity
	Code     string // stable, kebab-case: scripts and documentation refer to it
	Message  string // what is wrong, lower case, without the place
	Near     string // the nearest right name, or empty
	Hint     string // what to do, or empty
}

// Error returns the fault as one line without the hint.
func (f Fault) Error() string {
	var b strings.Builder
	if where := f.Pos.String(); where != "" {
		b.WriteString(where)
		b.WriteString(": ")
	}
	if f.Severity == SeverityWarning {
		b.WriteString("warning: ")
	}
	b.WriteString(f.Message)
	if f.Near != "" {
		fmt.Fprintf(&b, "; did you mean %q?", f.Near)
	}
	return b.String()
}

// Option completes a fault that Faults.Add records.
type Option func(*Fault)

// Near names the nearest right name; an empty name adds nothing.
func Near(name string) Option { return func(f *Fault) { f.Near = name } }

// Hint says what to do; args are formatted as by fmt.Sprintf.
func Hint(format string, args ...any) Option {
	return func(f *Fault) { f.Hint = sprintf(format, args) }
}

// Warning makes the fault a warning.
func Warning() Option { return func(f *Fault) { f.Severity = SeverityWarning } }

// Faults collects the faults of one pass over any number of files, with the
// sources that are needed to draw them. The zero value is ready to use. It is
// not safe for use by several goroutines at once.
type Faults struct {
	list    []Fault
	sources map[string]*source
	count   map[string]int // by file
}

// maxPerFile bounds the faults of one file: nobody reads further, and a file
// that is wrong throughout must not take minutes to say so.
const maxPerFile = 1000

// Add records a fault. The same code and message at the same place is recorded once.
func (f *Faults) Add(pos Pos, code, message string, options ...Option) {
	fault := Fault{Pos: pos, Code: code, Message: message}
	for _, o := range options {
		o(&fault)
	}
	f.AddFault(fault)
}

// AddFault records a fault that the caller has built. Of each file it keeps the
// first thousand, and then a fault that says so.
func (f *Faults) AddFault(fault Fault) {
	file := fault.Pos.File
	if f.count[file] >= maxPerFile {
		fault = Fault{
			Pos: Pos{File: file, Line: 1, Column: 1}, Code: CodeTooMany,
			Message: fmt.Sprintf("more than %d faults: not all are listed", maxPerFile),
		}
	}
	at, found := slices.BinarySearchFunc(f.list, fault, compareFaults)
	if found {
		return
	}
	f.list = slices.Insert(f.list, at, fault)
	if f.count == nil {
		f.count = make(map[string]int)
	}
	f.count[file]++
}

func compareFaults(a, b Fault) int {
	return cmp.Or(a.Pos.compare(b.Pos), strings.Compare(a.Code, b.Code), strings.Compare(a.Message, b.Message))
}

// Register keeps the text of a file, so that faults in it can show its lines.
// Parse does so by itself.
func (f *Faults) Register(path string, text []byte) {
	f.register(newSource(path, text))
}

func (f *Faults) register(s *source) {
	if f.sources == nil {
		f.sources = make(map[string]*source)
	}
	f.sources[s.path] = s
}

// Hide keeps what stands at pos and after it on its line from ever being drawn.
func (f *Faults) Hide(pos Pos) {
	if s := f.sources[pos.File]; s != nil {
		s.hide(pos.Line, pos.Column)
	}
}

// Len returns the number of faults, warnings included.
func (f *Faults) Len() int { return len(f.list) }

// All returns the faults sorted by file, line and column. The slice is the caller's.
func (f *Faults) All() []Fault { return slices.Clone(f.list) }

// HasErrors says whether at least one fault is not a warning.
func (f *Faults) HasErrors() bool {
	return slices.ContainsFunc(f.list, func(x Fault) bool { return x.Severity == SeverityError })
}

// Err returns nil when there is no fault beyond warnings, else an *Error.
func (f *Faults) Err() error {
	if !f.HasErrors() {
		return nil
	}
	return &Error{Faults: f.All()}
}

// Error is a set of faults as a Go error.
type Error struct{ Faults []Fault }

// Error returns one line per fault, without source lines.
func (e *Error) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

func sprintf(format string, args []any) string {
	if len(args) == 0 {
		return format
	}
	return fmt.Sprintf(format, args...)
}
