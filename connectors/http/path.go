package http

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/plantloom/plantloom/internal/conf"
)

// path is a template: text with formulas in braces. What a formula gives is
// escaped for its place, so that no value can add a segment or a parameter.
type path struct {
	at    conf.Pos
	parts []pathPart
}

// pathPart is literal text, or a formula in the path or in the query.
type pathPart struct {
	literal string
	formula *formula
	query   bool
}

// compilePath compiles the template in a scalar.
func compilePath(n *conf.Node, s scope, faults *conf.Faults) *path {
	if !n.Exists() || n.Broken() {
		return nil
	}
	text := n.Text()
	if n.Kind() != conf.Scalar || !strings.HasPrefix(text, "/") || strings.ContainsAny(text, "#\r\n\\") {
		faults.Add(n.ValuePos(), conf.CodeWrongType, fmt.Sprintf("%q wants a path that begins with /, without fragment", n.Name()),
			conf.Hint("such as /api/orders/{e.order_id}; the host belongs to url"))
		return nil
	}
	p := &path{at: n.ValuePos()}
	query, from := false, 0
	for from < len(text) {
		open := strings.IndexByte(text[from:], '{')
		if open < 0 {
			open = len(text) - from
		}
		literal := text[from : from+open]
		query = query || strings.Contains(literal, "?")
		p.parts = append(p.parts, pathPart{literal: literal})
		if from += open; from == len(text) {
			break
		}
		end := strings.IndexByte(text[from:], '}')
		if end < 0 {
			faults.Add(n.ScalarPos(from), codeFormula, "a { without its }")
			return nil
		}
		f := compilePart(n, from+1, from+end, s, faults)
		if f == nil {
			return nil
		}
		p.parts = append(p.parts, pathPart{formula: f, query: query})
		from += end + 1
	}
	if _, err := url.Parse(p.sample()); err != nil {
		faults.Add(n.ValuePos(), conf.CodeWrongType, fmt.Sprintf("%q is no path: %v", text, err))
		return nil
	}
	return p
}

// sample is the path with x for every formula.
func (p *path) sample() string {
	var out strings.Builder
	for _, part := range p.parts {
		out.WriteString(part.literal)
		if part.formula != nil {
			out.WriteByte('x')
		}
	}
	return out.String()
}

// render returns the escaped path with its query.
func (p *path) render(env map[string]any) (string, error) {
	var out strings.Builder
	for _, part := range p.parts {
		out.WriteString(part.literal)
		if part.formula == nil {
			continue
		}
		value, err := part.formula.eval(env)
		if err != nil {
			return "", err
		}
		text, err := plainText(value)
		if err != nil {
			return "", fmt.Errorf("%s: %q %w", part.formula.at, part.formula.text, err)
		}
		if part.query {
			out.WriteString(url.QueryEscape(text))
			continue
		}
		// Dots are no escape's business, and a server may walk up on them.
		if text == "" || text == "." || text == ".." {
			return "", fmt.Errorf("%s: %q gives %q, which cannot be part of a path", part.formula.at, part.formula.text, text)
		}
		out.WriteString(url.PathEscape(text))
	}
	return out.String(), nil
}

// plainText renders a scalar for a path or a document number.
func plainText(value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case int:
		return strconv.Itoa(v), nil
	case bool:
		return strconv.FormatBool(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	}
	return "", fmt.Errorf("gives a %T, not a single value", value)
}
