package http

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/plantloom/plantloom/internal/conf"
)

// compiledRoute is what a route's texts become at load.
type compiledRoute struct {
	message  protoreflect.MessageType
	path     *path
	body     *body
	document *formula
	lookup   compiledLookup
}

type compiledLookup struct {
	path                  *path
	found, same, document *formula
}

// DecodeConf reads a route and compiles everything in it; all faults are
// reported in one pass.
func (r *Route) DecodeConf(n *conf.Node, faults *conf.Faults) {
	type plain Route
	r.Method = "POST"
	conf.Decode(n, (*plain)(r), faults)
	messages := eventMessages()
	known := slices.Sorted(maps.Keys(messages))
	message, ok := messages[r.Event]
	if !ok {
		if event := n.Field("event"); event.Exists() && !event.Broken() {
			faults.Add(event.ValuePos(), conf.CodeUnknownValue, fmt.Sprintf("there is no event %q", r.Event),
				conf.Near(conf.Nearest(r.Event, known)), conf.Hint("events: %s", strings.Join(known, ", ")))
		}
		return // formulas cannot be checked without the event's fields
	}
	r.compiled.message = message
	r.checkTypes(n.Field("types"), faults)
	event := eventScope(message.Descriptor())
	answered := event.with(answerScope())
	r.compiled.path = compilePath(r.Path, event, faults)
	if r.Body.Exists() {
		r.compiled.body = compileBody(r.Body, event, faults)
	}
	r.compiled.document = compileFormula(r.Document, answered, faults)
	if l := r.Lookup; l != nil {
		r.compiled.lookup = compiledLookup{
			path:     compilePath(l.Path, event, faults),
			found:    compileFormula(l.Found, answered, faults, expr.AsBool()),
			same:     compileFormula(l.Same, answered, faults, expr.AsBool()),
			document: compileFormula(l.Document, answered, faults),
		}
	}
	for i := range r.Classes {
		r.Classes[i].when = compileFormula(r.Classes[i].When, answered, faults, expr.AsBool())
	}
}

// checkTypes reports types that the event's enumeration does not have.
func (r *Route) checkTypes(n *conf.Node, faults *conf.Faults) {
	enum := typeEnum(r.compiled.message.Descriptor())
	if enum == nil {
		if n.Exists() {
			faults.Add(n.Pos(), conf.CodeUnknownValue, fmt.Sprintf("%s has no types", r.Event), conf.Hint("remove types"))
		}
		return
	}
	values := shortNames(enum)
	for _, item := range n.Items() {
		if item.Kind() == conf.Scalar && !slices.Contains(values, item.Text()) {
			faults.Add(item.ValuePos(), conf.CodeUnknownValue, fmt.Sprintf("%s has no type %q", r.Event, item.Text()),
				conf.Near(conf.Nearest(item.Text(), values)))
		}
	}
}

// render makes the request of an event. sent is the body as formulas see it;
// text is nil when the route has none.
func (c *compiledRoute) render(env map[string]any) (target string, text []byte, sent any, err error) {
	if target, err = c.path.render(env); err != nil || c.body == nil {
		return target, nil, nil, err
	}
	var out bytes.Buffer
	present, err := c.body.render(&out, env)
	if err != nil {
		return "", nil, nil, err
	}
	if !present {
		return "", nil, nil, fmt.Errorf("%s: the body is nil", c.body.formula.at)
	}
	sent, _, err = parseAny(out.Bytes())
	return target, out.Bytes(), sent, err
}
