package opcua

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
)

// The codes of results that the device did not give.
const (
	codeUnknownTag  = "UNKNOWN_TAG"
	codeNotWritable = "NOT_WRITABLE"
	codeValue       = "VALUE"    // it does not fit the node
	codeNotIdle     = "NOT_IDLE" // the handshake before has not ended
)

// execution is one command under way.
type execution struct {
	s      *Source
	c      *inboxv1.Command
	result *inboxv1.CommandResult
	writes []write
}

// refusedError ends a command with REFUSED and its code.
type refusedError struct{ code, message string }

func (e *refusedError) Error() string { return e.message }

func refuse(code, format string, args ...any) error {
	return &refusedError{code, fmt.Sprintf(format, args...)}
}

// Execute implements pipeline.Commander. R3: everything is checked before the first write, tags are written in their
// order and only when the tag list allows it, and what was written stands in the result whatever happens afterwards.
func (s *Source) Execute(ctx context.Context, c *inboxv1.Command) (*inboxv1.CommandResult, error) {
	e := &execution{s: s, c: c, result: &inboxv1.CommandResult{
		CommandId: c.GetCommandId(), CorrelationId: c.GetCorrelationId(), AssetPath: c.GetAssetPath(),
	}}
	err := e.run(ctx)
	var refused *refusedError
	switch {
	case err == nil:
	case errors.As(err, &refused):
		e.end(inboxv1.CommandOutcome_COMMAND_OUTCOME_REFUSED, refused.code, refused.message)
	case c.GetIdempotent(): // it may be repeated, so the caller tries until it is written
		return nil, err
	case len(e.result.WrittenTagIds) > 0 || errors.Is(err, errInDoubt):
		e.end(inboxv1.CommandOutcome_COMMAND_OUTCOME_UNKNOWN, "", err.Error())
	case ctx.Err() != nil:
		e.end(inboxv1.CommandOutcome_COMMAND_OUTCOME_EXPIRED, "", "the deadline passed before anything was written")
	default: // nothing was written
		return nil, fmt.Errorf("%w: %w", pipeline.ErrNotConnected, err)
	}
	return e.result, nil
}

func (e *execution) end(o inboxv1.CommandOutcome, code, message string) {
	e.result.Outcome, e.result.Code, e.result.Message = o, code, message
}

func (e *execution) run(ctx context.Context) error {
	h, err := e.handshake()
	if err != nil {
		return err
	}
	if err := e.allowed(); err != nil {
		return err
	}
	l := e.s.link()
	if l == nil {
		return errors.New("no session")
	}
	if err := e.plan(ctx, l); err != nil {
		return err
	}
	if h != nil {
		if err := h.prepare(ctx, l); err != nil {
			return err
		}
	}
	for _, w := range e.writes {
		if err := e.write(ctx, w); err != nil {
			return err
		}
	}
	if differs, err := e.readBack(ctx); err != nil || differs != "" {
		if err == nil {
			e.end(inboxv1.CommandOutcome_COMMAND_OUTCOME_MISMATCH, "", differs)
		}
		return err
	}
	if h != nil {
		return h.perform(ctx)
	}
	e.end(inboxv1.CommandOutcome_COMMAND_OUTCOME_DONE, "", "")
	return nil
}

// tag returns a tag's place in the list.
func (s *Source) tag(id string) (int, error) {
	i, ok := s.index[id]
	if !ok {
		return 0, refuse(codeUnknownTag, "tag %q is not in the tag list of source %s", id, s.host.ID)
	}
	return i, nil
}

// writable returns the place of a tag that commands may write (R3).
func (s *Source) writable(id string) (int, error) {
	i, err := s.tag(id)
	if err == nil && !s.host.Tags[i].Writable {
		err = refuse(codeNotWritable, "tag %s is not marked writable in the tag list of source %s", id, s.host.ID)
	}
	return i, err
}

// allowed checks every tag against the list before anything is sent.
func (e *execution) allowed() error {
	for _, w := range e.c.GetWrites() {
		tag, err := e.s.writable(w.GetTagId())
		if err != nil {
			return err
		}
		e.writes = append(e.writes, write{tag: tag, check: w.GetReadBack() || e.c.GetReadBack()})
	}
	return nil
}

// plan converts every value to its node's type before anything is written.
func (e *execution) plan(ctx context.Context, l *link) error {
	for i := range e.writes {
		w := &e.writes[i]
		var err error
		if w.to, err = e.s.nodeType(ctx, l, w.tag); err != nil {
			return err
		}
		if w.value, err = convert(e.c.GetWrites()[i].GetValue(), w.to); err != nil {
			return refuse(codeValue, "tag %s: %v", e.s.host.Tags[w.tag].ID, err)
		}
	}
	return nil
}

// nodeType reads once per connection what a tag's node takes.
func (s *Source) nodeType(ctx context.Context, l *link, tag int) (nodeType, error) {
	l.mu.Lock()
	t, ok := l.types[tag]
	l.mu.Unlock()
	if ok {
		return t, nil
	}
	name := s.host.Tags[tag].ID
	n, ok := s.nodes[tag].node(l.namespaces)
	if !ok {
		return t, refuse(codeValue, "tag %s: the server has no namespace %s", name, s.nodes[tag].uri)
	}
	v, err := l.read(ctx, []attribute{{n, ua.AttributeIDDataType}, {n, ua.AttributeIDValueRank}, {n, ua.AttributeIDValue}})
	if err != nil {
		return t, fmt.Errorf("reading the type of tag %s: %w", name, err)
	}
	if v[0].Status.IsBad() && v[2].Value.IsNull() {
		return t, refuse(statusText(ua.StatusCode(v[0].Status)), "tag %s at %s: %v", name, s.host.Tags[tag].Address, v[0].Status)
	}
	t = nodeType{node: n, id: builtin(v[0].Value.AsText()), array: v[2].Array}
	if t.id == ua.TypeIDNull { // abstract, an enumeration, or the vendor's own: the value knows
		t.id = v[2].Type
	}
	if v[2].Type == ua.TypeIDNull {
		t.array = v[1].Value.Type() == pipeline.TypeInt && v[1].Value.AsInt() >= 0
	}
	if goType(t.id) == nil {
		return t, refuse(codeValue, "tag %s: nodes of type %s cannot be written", name, v[0].Value)
	}
	l.mu.Lock()
	l.types[tag] = t
	l.mu.Unlock()
	return t, nil
}

// builtin maps a DataType node to the built-in type that carries it, null where only the value can tell.
func builtin(node string) ua.TypeID {
	var n uint64
	if len(node) > 2 && node[:2] == "i=" {
		n, _ = strconv.ParseUint(node[2:], 10, 32)
	}
	switch {
	case n >= id.Boolean && n <= id.LocalizedText:
		return ua.TypeID(n)
	case n == id.Duration:
		return ua.TypeIDDouble
	case n == id.UtcTime:
		return ua.TypeIDDateTime
	case n == id.LocaleID:
		return ua.TypeIDString
	case n == id.Enumeration:
		return ua.TypeIDInt32
	}
	return ua.TypeIDNull
}
