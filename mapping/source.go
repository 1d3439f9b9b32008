package mapping

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/mapping/engine"
)

// span is a stretch of a file about which a fault is already reported.
type span struct{ from, to conf.Pos }

func (s span) holds(p conf.Pos) bool {
	return p.File == s.from.File && !before(p, s.from) && !before(s.to, p)
}

func before(a, b conf.Pos) bool {
	return a.Line < b.Line || (a.Line == b.Line && a.Column < b.Column)
}

func spanOf(n *conf.Node) span {
	return span{from: n.ValuePos(), to: n.ScalarPos(len(n.Text()))}
}

func enginePos(p conf.Pos) engine.Pos {
	return engine.Pos{File: p.File, Line: p.Line, Column: p.Column}
}

func confPos(p engine.Pos) conf.Pos { return conf.Pos{File: p.File, Line: p.Line, Column: p.Column} }

// sourceOf is the text of a scalar from its byte skip on.
func sourceOf(n *conf.Node, skip int) engine.Source {
	return engine.Source{
		Text: n.Text()[skip:],
		At:   func(offset int) engine.Pos { return enginePos(n.ScalarPos(offset + skip)) },
	}
}

// keySource is the text of the key in front of a value.
func keySource(n *conf.Node) engine.Source {
	name, at := n.Name(), n.Pos()
	return engine.Source{Text: name, At: func(offset int) engine.Pos {
		offset = min(max(offset, 0), len(name))
		p := enginePos(at)
		p.Column += utf8.RuneCountInString(name[:offset])
		return p
	}}
}

// fixedSource is text that stands for a value that could not be read: it keeps later checks from complaining again.
func fixedSource(text string, at conf.Pos) *engine.Source {
	return &engine.Source{Text: text, At: func(int) engine.Pos { return enginePos(at) }}
}

// isFormula says whether a scalar begins with "=", and where its formula begins.
func isFormula(n *conf.Node) (skip int, ok bool) {
	text := n.Text()
	if !strings.HasPrefix(text, "=") {
		return 0, false
	}
	rest := strings.TrimLeft(text[1:], " \t\n")
	return len(text) - len(rest), true
}

// cutOff says whether a formula cannot end where it ends: inside quotes or brackets, or behind an operator.
func cutOff(formula string) bool {
	depth, quote := 0, rune(0)
	escaped := false
	for _, r := range formula {
		switch {
		case escaped:
			escaped = false
		case quote != 0:
			escaped = r == '\\' && quote != '`'
			if r == quote {
				quote = 0
			}
		case r == '"' || r == '\'' || r == '`':
			quote = r
		case strings.ContainsRune("([{", r):
			depth++
		case strings.ContainsRune(")]}", r):
			depth--
		}
	}
	if quote != 0 || depth > 0 {
		return true
	}
	text := strings.TrimRight(formula, " \t\n")
	return text == "" || strings.ContainsRune("+-*/%<>=&|?:,.!^", rune(text[len(text)-1])) || endsInOperator(text)
}

func endsInOperator(text string) bool {
	for _, word := range []string{"and", "or", "not", "in", "else", "contains", "matches"} {
		if rest, ok := strings.CutSuffix(text, word); ok && (rest == "" || strings.HasSuffix(rest, " ")) {
			return true
		}
	}
	return false
}

// formula reads a value that begins with "="; where always is set the "=" may be missing. It returns nil after a fault.
func (p *parser) formula(n *conf.Node, always bool) *engine.Source {
	if n.Broken() {
		p.broken = append(p.broken, spanOf(n))
		return nil
	}
	var text string
	faults := p.faults.Len()
	conf.Decode(n, &text, p.faults) // a list or a map is a fault
	if n.Kind() != conf.Scalar || p.faults.Len() > faults {
		return nil
	}
	skip, ok := isFormula(n)
	if !ok && !always {
		p.fault(n.ValuePos(), CodeFormulaWanted, quoted(n.Name())+" wants a formula", conf.Hint("write %s: =%s", n.Name(), n.Text()))
		p.broken = append(p.broken, spanOf(n))
		return nil
	}
	if p.commented(n, n.Text()[skip:]) {
		return nil
	}
	s := sourceOf(n, skip)
	return &s
}

// commented reports a formula that goes on behind a " #".
func (p *parser) commented(n *conf.Node, formula string) bool {
	if n.IsQuoted() || n.IsBlock() || !cutOff(formula) {
		return false
	}
	_, at, ok := n.Comment()
	if !ok {
		return false
	}
	p.fault(at, CodeComment, `" #" begins a comment, so the formula ends in front of it`, conf.Hint("put the whole formula into single quotes"))
	p.broken = append(p.broken, spanOf(n))
	return true
}

// or returns the source, or a text that passes later checks where it could not be read.
func (p *parser) or(s *engine.Source, n *conf.Node, text string) *engine.Source {
	if s != nil || !n.Exists() {
		return s
	}
	return fixedSource(text, n.ValuePos())
}

func quoted(name string) string { return `"` + name + `"` }

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// reservedNames are the words of formulas.
func reservedNames() []string {
	return []string{
		"and", "or", "not", "in", "if", "else", "let", "true", "false", "nil", "null", "matches", "contains", "startsWith",
		"endsWith", "m", "e", "old", "event_time", "outcome", "code", "message", "operation", "now",
	}
}

// stepNames are the words of a test's step, beside the names of inputs and contexts.
func stepNames() []string { return []string{"at", "arrive", "reply", "restart", "entry"} }
