package http

import (
	"context"
	"fmt"
	nethttp "net/http"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/plantloom/plantloom/pipeline"
)

var (
	_ pipeline.Sink     = (*sink)(nil)
	_ pipeline.Settler  = (*sink)(nil)
	_ pipeline.Lookuper = (*lookupSink)(nil)
	_ pipeline.Settler  = (*lookupSink)(nil)
)

// sink posts events. Several lanes may call it at once.
type sink struct {
	client *client
	config Config
	host   pipeline.Host
}

// lookupSink is a sink of which at least one route declares a look-up. A sink
// without one must not have the method: events in doubt then wait for a person.
type lookupSink struct{ *sink }

// Close ends the kept connections. A later Write opens new ones.
func (s *sink) Close() error {
	s.client.http.CloseIdleConnections()
	return nil
}

// Settle is how long the peer may go on after we have given up.
func (s *sink) Settle() time.Duration { return s.config.Settle }

// Write posts events one after the other and stops at the first that is not
// delivered.
func (s *sink) Write(ctx context.Context, events []pipeline.Event) ([]pipeline.Receipt, error) {
	var receipts []pipeline.Receipt
	for _, e := range events {
		receipt, err := s.deliver(ctx, e)
		if err != nil {
			return receipts, err
		}
		receipts = append(receipts, receipt)
	}
	return receipts, nil
}

// posting is an event on its way.
type posting struct {
	route  *Route
	env    map[string]any
	target string
	body   []byte
}

// prepare finds the route and renders the request. It returns nil and a
// receipt for an event that no route takes: that is said, never silent.
func (s *sink) prepare(e pipeline.Event) (*posting, pipeline.Receipt, error) {
	if e.Historical {
		return nil, skipped("from a back-fill job"), nil // R11
	}
	route, env, err := s.route(e)
	if err != nil {
		return nil, pipeline.Receipt{}, rejected("BAD_EVENT", err)
	}
	if route == nil {
		return nil, skipped("no route takes this " + e.Type), nil
	}
	p := &posting{route: route, env: env}
	var sent any
	if p.target, p.body, sent, err = route.compiled.render(env); err != nil {
		return nil, pipeline.Receipt{}, rejected("BAD_FORMULA", err)
	}
	env["sent"] = sent
	return p, pipeline.Receipt{}, nil
}

// Takes implements pipeline.Taker; what cannot be read is taken, so that Write can reject it.
func (s *sink) Takes(e pipeline.Event) bool {
	route, _, err := s.route(e)
	return err != nil || route != nil
}

func skipped(why string) pipeline.Receipt {
	return pipeline.Receipt{Skipped: true, Note: "skipped: " + why}
}

// route returns the first route that takes e, nil when none does.
func (s *sink) route(e pipeline.Event) (*Route, map[string]any, error) {
	var message protoreflect.MessageType
	for i := range s.config.Routes {
		if s.config.Routes[i].Event == e.Type {
			message = s.config.Routes[i].compiled.message
		}
	}
	if message == nil {
		return nil, nil, nil
	}
	env, typ, err := eventEnv(e, message)
	if err != nil {
		return nil, nil, err
	}
	for i := range s.config.Routes {
		if r := &s.config.Routes[i]; r.Event == e.Type && takes(r.Types, typ) {
			return r, env, nil
		}
	}
	return nil, nil, nil
}

// deliver sends one event exactly once and says what became of it (R1).
func (s *sink) deliver(ctx context.Context, e pipeline.Event) (pipeline.Receipt, error) {
	p, receipt, err := s.prepare(e)
	if err != nil || p == nil {
		if err == nil {
			s.host.Count("skipped_events", 1)
		}
		return receipt, err
	}
	if err := ctx.Err(); err != nil {
		return pipeline.Receipt{}, &pipeline.NotExecuted{Err: err} // nothing has been sent
	}
	key := ""
	if s.config.Idempotency == IdempotencyHeader {
		key = e.EffectID()
	}
	a, fault := s.client.do(ctx, string(p.route.Method), p.target, p.body, key)
	if fault != nil {
		return pipeline.Receipt{}, s.failed(fault)
	}
	p.answered(a)
	class, err := s.classify(p.route, a, p.env)
	if err != nil {
		return pipeline.Receipt{}, inDoubt(err)
	}
	return s.judge(ctx, p, a, class)
}

// failed is the answer to a request without an answer.
func (s *sink) failed(f *fault) error {
	s.client.status.set(pipeline.Down, f.err.Error())
	if !f.sent {
		return &pipeline.NotExecuted{Err: f.err}
	}
	return inDoubt(f.err)
}

// answered makes the answer known to formulas.
func (p *posting) answered(a *answer) {
	p.env["status"], p.env["answer"], p.env["text"] = a.status, a.value, string(a.text)
}

// judge turns a class into one of the three answers of R1, or a receipt.
func (s *sink) judge(ctx context.Context, p *posting, a *answer, class ClassName) (pipeline.Receipt, error) {
	said := s.client.describe(a)
	if class == ClassRetry || class == ClassInDoubt {
		s.client.status.set(pipeline.Down, said.Error())
	} else {
		s.client.status.set(pipeline.Running, "")
	}
	switch class {
	case ClassDone:
		return p.receipt(p.route.compiled.document, a, "")
	case ClassReject:
		return pipeline.Receipt{}, rejected("HTTP_"+strconv.Itoa(a.status), said)
	case ClassRetry:
		return pipeline.Receipt{}, &pipeline.NotExecuted{Err: said, RetryAfter: retryAfter(a.header, s.host.Now())}
	case ClassLookUp:
		return s.reread(ctx, p, a, said)
	}
	return pipeline.Receipt{}, inDoubt(said)
}

// reread decides a conflict by what exists: the effect is there, or the peer
// did not and will not make it. A lock passes; anything else stays.
func (s *sink) reread(ctx context.Context, p *posting, a *answer, said error) (pipeline.Receipt, error) {
	if p.route.Lookup == nil {
		if a.status == nethttp.StatusLocked {
			return pipeline.Receipt{}, &pipeline.NotExecuted{Err: said, RetryAfter: retryAfter(a.header, s.host.Now())}
		}
		return pipeline.Receipt{}, inDoubt(fmt.Errorf("%w; the route has no lookup to tell whether the effect exists", said))
	}
	receipt, found, err := s.find(ctx, p)
	switch {
	case err != nil:
		return pipeline.Receipt{}, inDoubt(fmt.Errorf("%w; looking it up: %w", said, err))
	case found:
		return receipt, nil
	case a.status == nethttp.StatusLocked:
		return pipeline.Receipt{}, &pipeline.NotExecuted{Err: said, RetryAfter: retryAfter(a.header, s.host.Now())}
	}
	return pipeline.Receipt{}, rejected("HTTP_"+strconv.Itoa(a.status), said)
}

// receipt reads the document number. A success whose answer cannot be read
// as declared (a login page, half an object) proves nothing.
func (p *posting) receipt(document *formula, a *answer, note string) (pipeline.Receipt, error) {
	if document == nil {
		return pipeline.Receipt{Note: note}, nil
	}
	if a.json != nil {
		return pipeline.Receipt{}, inDoubt(fmt.Errorf("status %d with an answer that is no JSON%s", a.status, quote(a)))
	}
	value, err := document.eval(p.env)
	if err != nil {
		return pipeline.Receipt{}, inDoubt(err)
	}
	number, err := plainText(value)
	if err != nil || number == "" {
		return pipeline.Receipt{}, inDoubt(fmt.Errorf("%s: no document number in the answer with status %d%s", document.at, a.status, quote(a)))
	}
	return pipeline.Receipt{Document: number, Note: note}, nil
}

// Lookup asks the peer whether e's effect exists.
func (s *lookupSink) Lookup(ctx context.Context, e pipeline.Event) (pipeline.Receipt, bool, error) {
	p, receipt, err := s.prepare(e)
	if err != nil {
		return pipeline.Receipt{}, false, fmt.Errorf("preparing the look-up: %w", err)
	}
	if p == nil {
		return receipt, true, nil // it is never sent
	}
	if p.route.Lookup == nil {
		return pipeline.Receipt{}, false, fmt.Errorf("the route of %s has no lookup: a person must look it up in %s", e.Type, s.client.hostname)
	}
	return s.find(ctx, p)
}

// find is the look-up of a prepared event.
func (s *sink) find(ctx context.Context, p *posting) (pipeline.Receipt, bool, error) {
	l := &p.route.compiled.lookup
	target, err := l.path.render(p.env)
	if err != nil {
		return pipeline.Receipt{}, false, fmt.Errorf("making the look-up: %w", err)
	}
	a, fault := s.client.do(ctx, nethttp.MethodGet, target, nil, "")
	if fault != nil {
		s.client.status.set(pipeline.Down, fault.err.Error())
		return pipeline.Receipt{}, false, fmt.Errorf("looking up: %w", fault.err)
	}
	if slices.Contains(p.route.Lookup.AbsentStatus, a.status) {
		return pipeline.Receipt{}, false, nil
	}
	if a.status < 200 || a.status > 299 || a.json != nil {
		said := s.client.describe(a)
		s.client.status.set(pipeline.Down, said.Error())
		return pipeline.Receipt{}, false, fmt.Errorf("looking up: %w", said)
	}
	s.client.status.set(pipeline.Running, "")
	p.answered(a)
	found, err := l.found.evalBool(p.env)
	if err != nil || !found {
		return pipeline.Receipt{}, false, err
	}
	return p.found(l, a)
}

// found compares what exists with what was sent.
func (p *posting) found(l *compiledLookup, a *answer) (pipeline.Receipt, bool, error) {
	receipt, err := p.receipt(l.document, a, "found by look-up")
	if err != nil || l.same == nil {
		return receipt, err == nil, err
	}
	same, err := l.same.evalBool(p.env)
	if err != nil {
		return pipeline.Receipt{}, false, err
	}
	if !same {
		return pipeline.Receipt{}, true, &pipeline.Conflict{
			Receipt: receipt, Err: fmt.Errorf("document %q exists under this id with another content", receipt.Document),
		}
	}
	return receipt, true, nil
}
