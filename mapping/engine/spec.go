package engine

import (
	"time"

	"github.com/plantloom/plantloom/pipeline"
)

// Source is a piece of text from a file, with the way back to its place there.
type Source struct {
	Text string
	// At returns the place of the byte at offset in Text: the file's name, the 1-based line and the 1-based column
	// in runes. It is right for plain, quoted and block scalars. Never nil.
	At func(offset int) Pos
}

// Pos is a place in a file.
type Pos struct {
	File         string
	Line, Column int
}

// Fault is one thing wrong with a mapping.
type Fault struct {
	Code    string // stable, for example UNKNOWN_NAME
	Message string // lower case, one sentence, with the offending name in quotes
	Near    string // the nearest right name, empty when none is near
	Hint    string // what to do
	At      Pos
	Warning bool
}

// Spec is one mapping file as it was written: parsed and complete in its form, formulas not yet checked.
// Package mapping makes it of YAML; Compile checks and lowers it.
type Spec struct {
	Name     string // the file's name without .map.yaml
	Columns  []Column
	Inputs   []Input
	Outputs  []Output
	Contexts []Context
	Lets     []Let
	Rules    []Rule
	Tables   map[string]*Table // for lookup(table, key), by name
}

// Column is a column of the machine table: `machine: {plc: text}`.
type Column struct {
	Name Source
	Type string // text, int, float, bool
}

// BadPolicy says what a formula sees of an input whose quality is bad.
type BadPolicy uint8

// The policies; hold is the default.
const (
	BadHold BadPolicy = iota // the last good value until MaxAge, the result uncertain
	BadWait                  // the rule waits for a good value
	BadOmit                  // null; fields that depend on it are left out
	BadUse                   // the value as it is, with quality(x)
)

// Input is one input of a mapping.
type Input struct {
	Name    Source
	Type    string // bool, int, uint, float, text, time
	Counter *Counter
	MaxRate float64 // 1/s, 0 when not given
	Unit    Source  // UCUM or UNECE code, Text empty when none
	Bad     BadPolicy
	MaxAge  time.Duration // 0: no limit
}

// Resets says when a drop of a counter may be a reset.
type Resets uint8

// The kinds of resets; never is the default.
const (
	ResetsNever Resets = iota
	ResetsOrder
	ResetsAny
)

// Counter describes a counting input: it runs from Min to Max and rolls over.
type Counter struct {
	Min, Max  int64
	Resets    Resets
	MaxGap    time.Duration // default 60 s
	Slack     float64       // default 1
	Ambiguous string        // smaller (default) or hold
}

// Output is one tag that rules may write.
type Output struct {
	Name     Source
	Type     string // bool, int, uint, float, text
	Unit     Source
	Min, Max *float64
	MaxLen   int  // of text, 0: no limit
	ReadBack bool // default true
	Required bool // of a table's parameters
	// Table names the recipe table whose rows are the outputs; then the fields above are the rows'.
	Table []Parameter
}

// Parameter is one row of a recipe table.
type Parameter struct {
	Name     string
	Type     string
	Unit     string
	Min, Max *float64
	MaxLen   int
	Required bool
	At       Pos
}

// Context is a value kept as intervals of event time: which order, operation, lot is on this machine.
type Context struct {
	Name      Source
	Type      string
	MinStable time.Duration
}

// Let names an intermediate value of the whole mapping or of one rule.
type Let struct {
	Name    Source
	Formula Source
}

// Rule is one rule. Exactly one of When, Every, On, Receive is its trigger.
type Rule struct {
	Name    Source
	At      Pos // of the rule
	When    *Source
	Settle  time.Duration
	Every   time.Duration
	Split   []Source
	On      *Source // name of an input
	Step    int64   // of On, 0 when not given
	Receive *Receive
	If      *Source
	Let     []Let
	Emit    *Source // name of a message, for example ProductionOrderEvent
	Key     *Source // formula; nil: the asset path
	Set     []Field
	Write   []Assign // in order
	Shake   *Handshake
	Ack     []Assign
	Expires time.Duration // of Write; default 30 s
	// Broken says that a fault of the rule's form is reported already: what the rule lacks is not reported again.
	Broken bool
}

// Receive is the trigger `receive: {Operation: new}`.
type Receive struct {
	What  Source   // Operation
	Verbs []Source // new, changed, cancelled
}

// Field is one entry below `set:`. Name may be a path: delta.good.
type Field struct {
	Name  Source
	Value Node
}

// Node is a value below `set:`: exactly one of the members is set.
type Node struct {
	Formula *Source // without the leading =
	Literal *Literal
	Fields  []Field // a message
	Items   []Node  // a list
	At      Pos
}

// Literal is text that the target's type decodes.
type Literal struct {
	Source
	Quoted bool
}

// Assign writes a value to an output.
type Assign struct {
	Output Source
	Value  Node
}

// Handshake is the dialogue around a write; the Sources are names of outputs.
type Handshake struct {
	Request, Ack, Nack, Code *Source // Nack and Code may be nil
	Style                    string  // level, toggle, sequence
	Within                   time.Duration
}

// Table is a look-up table of a CSV file: a key column and further columns, all text.
type Table struct {
	Name    string
	Columns []string // Columns[0] is the key
	Rows    map[string][]string
}

// Machine is one machine that a plant file stamps out.
type Machine struct {
	Name    string
	Asset   string                    // ISA-95 path: its inbox
	Columns map[string]pipeline.Value // typed by Spec.Columns; also name and asset
	Inputs  map[string]string         // input or context name -> tag id
	Outputs map[string]Target         // output name, or table output name + "/" + parameter -> target
	Sources []string                  // ids of the sources that feed the asset, sorted
}

// Target is a tag that can be written.
type Target struct {
	Tag, Source string
}
