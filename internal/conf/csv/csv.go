// Package csv reads the tables that integrators keep in spreadsheets: tag lists,
// machines, recipes. It finds out the delimiter, keeps every cell as the text
// that it is, and reports all faults at once with file, line and column.
//
// It never guesses an encoding or a decimal sign: bytes that are not UTF-8 and
// decimal commas are faults with a hint. It only reads the file it is given and
// keeps no state. Whoever reads tables may import it; it imports internal/conf.
package csv

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/plantloom/plantloom/internal/conf"
)

// maxBytes bounds a table: a hundred thousand tags are about 10 MB.
const maxBytes = 64 << 20

// The codes of this package's faults, beside those of conf.
const (
	CodeQuote         = "csv-quote"          // a quote is not closed, or text stands around it
	CodeCells         = "csv-cells"          // a row with more or fewer cells than the header
	CodeMissingColumn = "csv-missing-column" // a required column is absent
	CodeUnknownColumn = "csv-unknown-column" // a column that is not known here
	CodeColumnTwice   = "csv-column-twice"   // a column name stands twice in the header
	CodeNotUnique     = "csv-not-unique"     // a value that must be unique stands twice
)

// Column says what a table's reader knows of a column.
type Column struct {
	Name     string
	Required bool // the column must exist and each of its cells hold text
	Unique   bool // no two rows have the same text; implies nothing about empty cells
}

// Options say what a table may hold.
type Options struct {
	Columns []Column
	Extra   bool // columns beside Columns are allowed, such as the machine columns that a mapping declares
}

// Table is a header and rows. Cells are text; a cell's place is known.
type Table struct {
	Path      string
	Delimiter rune // ',', ';' or tab
	Header    []Cell
	Rows      []Row

	columns map[string]int
}

// Cell is one cell with its place: of its quote when it is quoted.
type Cell struct {
	Text string
	Pos  conf.Pos
}

// Row is one line of a table below the header; it has as many cells as the header.
type Row struct {
	table *Table
	cells []Cell
}

// ReadFile reads and parses a file. A file that cannot be read is a fault too.
// The table is never nil.
func ReadFile(path string, o Options, faults *conf.Faults) *Table {
	info, err := os.Stat(path)
	var src []byte
	switch {
	case err == nil && info.Size() > maxBytes:
		faults.Add(conf.Pos{File: path}, conf.CodeTooLarge, fmt.Sprintf("the file is larger than %d MiB", maxBytes>>20))
		return &Table{Path: path}
	case err == nil:
		src, err = os.ReadFile(path)
	}
	if err != nil {
		faults.Add(conf.Pos{File: path}, conf.CodeUnreadable, err.Error(), conf.Hint("check the path and its permissions"))
		return &Table{Path: path}
	}
	return Read(path, src, o, faults)
}

// Read parses a table and records all its faults. Rows with faults are left out
// of the table where their cells cannot be told apart. The table is never nil.
func Read(path string, src []byte, o Options, faults *conf.Faults) *Table {
	faults.Register(path, src)
	t := &Table{Path: path, columns: make(map[string]int)}
	s := newScanner(path, src, faults)
	if !s.checkText() {
		return t
	}
	s.delimiter = s.detect()
	t.Delimiter = s.delimiter
	header, ok := s.record()
	if !ok || (len(header) == 1 && header[0].Text == "") {
		faults.Add(conf.Pos{File: path, Line: 1, Column: 1}, conf.CodeEmpty, "the table is empty", conf.Hint("its first line names the columns"))
		return t
	}
	t.Header = header
	t.checkHeader(o, faults)
	for {
		cells, ok := s.record()
		if !ok {
			break
		}
		if len(cells) != len(header) {
			faults.Add(cells[0].Pos, CodeCells, fmt.Sprintf("this row has %d cells and the header %d", len(cells), len(header)),
				conf.Hint("put a cell that contains %q into double quotes", string(s.delimiter)))
			continue
		}
		t.Rows = append(t.Rows, Row{table: t, cells: cells})
	}
	t.checkCells(o, faults)
	return t
}

func (t *Table) checkHeader(o Options, faults *conf.Faults) {
	known := make([]string, len(o.Columns))
	for i, c := range o.Columns {
		known[i] = c.Name
	}
	for i, cell := range t.Header {
		t.Header[i].Text = strings.TrimSpace(cell.Text)
		name := t.Header[i].Text
		if _, twice := t.columns[name]; twice {
			faults.Add(cell.Pos, CodeColumnTwice, fmt.Sprintf("column %q stands here for the second time", name))
			continue
		}
		t.columns[name] = i
		if !o.Extra && !slices.Contains(known, name) {
			faults.Add(cell.Pos, CodeUnknownColumn, fmt.Sprintf("unknown column %q", name),
				conf.Near(conf.Nearest(name, known)), conf.Hint("known columns: %s", strings.Join(known, ", ")))
		}
	}
	names := t.names()
	for _, c := range o.Columns {
		if _, ok := t.columns[c.Name]; c.Required && !ok {
			faults.Add(t.Header[0].Pos, CodeMissingColumn, fmt.Sprintf("column %q is missing", c.Name),
				conf.Near(conf.Nearest(c.Name, names)), conf.Hint("columns here: %s", strings.Join(names, ", ")))
		}
	}
}

func (t *Table) names() []string {
	names := make([]string, len(t.Header))
	for i, c := range t.Header {
		names[i] = c.Text
	}
	return names
}

func (t *Table) checkCells(o Options, faults *conf.Faults) {
	for _, c := range o.Columns {
		at, ok := t.columns[c.Name]
		if !ok {
			continue
		}
		first := make(map[string]int)
		for _, r := range t.Rows {
			cell := r.cells[at]
			if cell.Text == "" {
				if c.Required {
					faults.Add(cell.Pos, conf.CodeEmpty, fmt.Sprintf("column %q has no text in this row", c.Name))
				}
				continue
			}
			if line, twice := first[cell.Text]; c.Unique && twice {
				faults.Add(cell.Pos, CodeNotUnique, fmt.Sprintf("%q stands twice in column %q", cell.Text, c.Name),
					conf.Hint("the first is in line %d", line))
				continue
			}
			first[cell.Text] = cell.Pos.Line
		}
	}
}

// Has says whether the table has a column.
func (t *Table) Has(column string) bool {
	_, ok := t.columns[column]
	return ok
}

// Cell returns a cell of a row; a column that the table lacks is an empty cell
// at the row's begin.
func (r Row) Cell(column string) Cell {
	if i, ok := r.table.columns[column]; ok {
		return r.cells[i]
	}
	return Cell{Pos: r.Pos()}
}

// Text returns the text of a cell, "" for a column that the table lacks.
func (r Row) Text(column string) string { return r.Cell(column).Text }

// Pos returns the place where the row begins.
func (r Row) Pos() conf.Pos { return r.cells[0].Pos }
