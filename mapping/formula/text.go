package formula

import "strconv"

// asText is the decimal text of a whole number, or the text itself; nil for other kinds.
func asText(e *Expr) TextFunc {
	switch e.Kind {
	case Text:
		return e.Text
	case Int:
		x := e.Int
		return func(f *Frame) (string, bool) { v, ok := x(f); return strconv.FormatInt(v, 10), ok }
	case Uint:
		x := e.Uint
		return func(f *Frame) (string, bool) { v, ok := x(f); return strconv.FormatUint(v, 10), ok }
	}
	return nil
}
