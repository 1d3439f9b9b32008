package csv

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/plantloom/plantloom/internal/conf"
)

var decimalComma = regexp.MustCompile(`^[-+]?[0-9.]+,[0-9]+$`)

// Float reads a cell as a finite number with a decimal point. ok is false for an
// empty cell and after a fault.
func (r Row) Float(column string, faults *conf.Faults) (v float64, ok bool) {
	cell := r.Cell(column)
	if cell.Text == "" {
		return 0, false
	}
	v, err := conf.ParseFloat(cell.Text)
	if err != nil {
		numberFault(cell, column, "a number", faults)
		return 0, false
	}
	return v, true
}

// Int reads a cell as a whole number without leading zeros, which mark texts
// such as order numbers. ok is false for an empty cell and after a fault.
func (r Row) Int(column string, faults *conf.Faults) (v int64, ok bool) {
	cell := r.Cell(column)
	if cell.Text == "" {
		return 0, false
	}
	v, err := strconv.ParseInt(cell.Text, 10, 64)
	if digits := strings.TrimLeft(cell.Text, "+-"); err != nil || (len(digits) > 1 && digits[0] == '0') {
		numberFault(cell, column, "a whole number", faults)
		return 0, false
	}
	return v, true
}

// Bool reads a cell as true or false, in any case as spreadsheets write them. ok
// is false for an empty cell and after a fault.
func (r Row) Bool(column string, faults *conf.Faults) (v, ok bool) {
	cell := r.Cell(column)
	switch strings.ToLower(cell.Text) {
	case "":
		return false, false
	case "true":
		return true, true
	case "false":
		return false, true
	}
	near := ""
	switch strings.ToLower(cell.Text) {
	case "yes", "y", "x", "1", "ja":
		near = "true"
	case "no", "n", "0", "nein":
		near = "false"
	}
	faults.Add(cell.Pos, conf.CodeWrongType, fmt.Sprintf("column %q wants true or false, not %q", column, cell.Text), conf.Near(near))
	return false, false
}

// Enum reads a cell as one of values. ok is false for an empty cell and after a fault.
func (r Row) Enum(column string, values []string, faults *conf.Faults) (v string, ok bool) {
	cell := r.Cell(column)
	if cell.Text == "" {
		return "", false
	}
	for _, v := range values {
		if v == cell.Text {
			return v, true
		}
	}
	faults.Add(cell.Pos, conf.CodeUnknownValue, fmt.Sprintf("%q is not a value of column %q", cell.Text, column),
		conf.Near(conf.Nearest(cell.Text, values)), conf.Hint("one of: %s", strings.Join(values, ", ")))
	return "", false
}

func numberFault(cell Cell, column, want string, faults *conf.Faults) {
	hint := "write digits, without a unit"
	if decimalComma.MatchString(cell.Text) {
		hint = fmt.Sprintf("write %s: the decimal sign is a point; in the spreadsheet set the format to English before saving",
			strings.ReplaceAll(strings.ReplaceAll(cell.Text, ".", ""), ",", "."))
	}
	faults.Add(cell.Pos, conf.CodeWrongType, fmt.Sprintf("column %q wants %s, not %q", column, want, cell.Text), conf.Hint("%s", hint))
}
