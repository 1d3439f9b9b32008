package opcua

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/connectors/opcua/wire"
	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
)

const (
	level  = inboxv1.HandshakeStyle_HANDSHAKE_STYLE_LEVEL
	toggle = inboxv1.HandshakeStyle_HANDSHAKE_STYLE_TOGGLE
)

// resetWithin bounds taking a request back after its deadline. This is the one write that may come after it: a request
// that stays set would be acted on at any later time.
const resetWithin = 2 * time.Second

// handshake is the dialogue after the writes: we set the request, the device acknowledges or refuses.
//
// Level: request goes true, acknowledge or refuse goes true, request goes false. Toggle: request changes, acknowledge
// follows it, or refuse changes. Sequence: request is raised by one, acknowledge or refuse takes that number.
type handshake struct {
	e                          *execution
	style                      inboxv1.HandshakeStyle
	request, ack, refuse, code int // tags; refuse and code are -1 when there is none
	within                     time.Duration

	want    *ua.Variant // of request
	answer  pipeline.Value
	refused pipeline.Value // refuse before the request
	to      nodeType
}

// handshake reads the command's handshake, nil when it has none.
func (e *execution) handshake() (*handshake, error) {
	c := e.c.GetHandshake()
	if c == nil {
		return nil, nil
	}
	h := &handshake{e: e, style: c.GetStyle(), refuse: -1, code: -1, within: time.Duration(c.GetWithinNs())}
	if h.style == inboxv1.HandshakeStyle_HANDSHAKE_STYLE_UNSPECIFIED {
		h.style = level
	}
	var err error
	if h.request, err = e.s.writable(c.GetRequestTagId()); err != nil {
		return nil, err
	}
	if h.ack, err = e.s.tag(c.GetAcknowledgeTagId()); err != nil {
		return nil, err
	}
	for id, to := range map[string]*int{c.GetRefuseTagId(): &h.refuse, c.GetCodeTagId(): &h.code} {
		if id == "" {
			continue
		}
		if *to, err = e.s.tag(id); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// prepare waits until the handshake before has ended, and decides what the request becomes. The device may need a few
// cycles to withdraw its last acknowledgement.
func (h *handshake) prepare(ctx context.Context, l *link) error {
	var err error
	if h.to, err = h.e.s.nodeType(ctx, l, h.request); err != nil {
		return err
	}
	limit, cancel := h.limited(ctx)
	defer cancel()
	for withdrawn := false; ; {
		s, err := h.read(ctx, l)
		if err != nil {
			return err
		}
		if h.idle(s) {
			return h.plan(s)
		}
		if !withdrawn && h.style == level && truth(s.request.Value) {
			// A command that was interrupted left it set; the device withdraws its answer once it is gone.
			withdrawn = true
			off, err := h.level(false)
			if err != nil {
				return err
			}
			if err := h.set(ctx, off); err != nil {
				return err
			}
		}
		if !wait(limit, h.e.s.cfg.HandshakePoll) {
			return refuse(codeNotIdle, "the handshake of the command before has not ended: request %v, acknowledge %v, refuse %v; nothing was requested",
				s.request.Value, s.ack.Value, s.refuse.Value)
		}
	}
}

// level is the value of a request that is set or not.
func (h *handshake) level(on bool) (*ua.Variant, error) {
	v := &eventv1.Value{Kind: &eventv1.Value_BoolValue{BoolValue: on}}
	if h.to.id != ua.TypeIDBoolean {
		v.Kind = &eventv1.Value_IntValue{}
		if on {
			v.Kind = &eventv1.Value_IntValue{IntValue: 1}
		}
	}
	out, err := convert(v, h.to)
	if err != nil {
		return nil, refuse(codeValue, "request tag %s: %v", h.e.s.host.Tags[h.request].ID, err)
	}
	return out, nil
}

// plan decides the request's value and the answer to wait for.
func (h *handshake) plan(s signals) error {
	var err error
	switch h.style {
	case level:
		h.want, err = h.level(true)
	case toggle:
		h.want, err = h.level(!truth(s.request.Value))
	default:
		n := &eventv1.Value{Kind: &eventv1.Value_IntValue{IntValue: following(s.request.Value.AsInt(), h.to.id)}}
		if h.want, err = convert(n, h.to); err != nil {
			err = refuse(codeValue, "request tag %s: %v", h.e.s.host.Tags[h.request].ID, err)
		}
	}
	if err != nil {
		return err
	}
	want, err := wire.ValueOf(h.want)
	if err != nil {
		return fmt.Errorf("preparing the request: %w", err)
	}
	h.answer, h.refused = want.Value, s.refuse.Value
	return nil
}

// limited bounds ctx by the handshake's own time.
func (h *handshake) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if h.within <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, h.within)
}

// perform sets the request and waits for the answer. A connection that is lost meanwhile may come back in time.
func (h *handshake) perform(ctx context.Context) error {
	limit, cancel := h.limited(ctx)
	defer cancel()
	err := h.set(ctx, h.want)
	if err != nil && !errors.Is(err, errInDoubt) {
		return err
	}
	answered := h.await(limit)
	if h.style == level {
		h.withdraw(ctx, answered)
	}
	if h.e.result.Outcome == inboxv1.CommandOutcome_COMMAND_OUTCOME_UNSPECIFIED {
		message := "the device neither acknowledged nor refused in time"
		if err != nil {
			message += "; " + err.Error()
		}
		h.e.end(inboxv1.CommandOutcome_COMMAND_OUTCOME_TIMEOUT, "", message)
	}
	return nil
}

func (h *handshake) set(ctx context.Context, v *ua.Variant) error {
	return h.e.write(ctx, write{tag: h.request, to: h.to, value: v})
}

// await polls until the device has answered; false when ctx ended before.
func (h *handshake) await(ctx context.Context) bool {
	for {
		if l := h.e.s.link(); l != nil {
			if s, err := h.read(ctx, l); err == nil && h.answered(ctx, l, s) {
				return true
			}
		}
		if !wait(ctx, h.e.s.cfg.HandshakePoll) {
			return false
		}
	}
}

// answered decides the outcome once there is one.
func (h *handshake) answered(ctx context.Context, l *link, s signals) bool {
	acknowledged, refused := equal(s.ack.Value, h.answer), false
	switch h.style {
	case level:
		acknowledged, refused = truth(s.ack.Value), truth(s.refuse.Value)
	case toggle:
		refused = h.refuse >= 0 && !equal(s.refuse.Value, h.refused)
	default:
		refused = h.refuse >= 0 && equal(s.refuse.Value, h.answer)
	}
	switch {
	case refused && !s.refuse.Status.IsBad():
		// The code was read together with the refusal, perhaps just before the device wrote it.
		if again, err := h.read(ctx, l); err == nil {
			s = again
		}
		code := ""
		if h.code >= 0 {
			code = s.code.Value.String()
		}
		h.e.end(inboxv1.CommandOutcome_COMMAND_OUTCOME_REFUSED, code, "the device refused")
	case acknowledged && !s.ack.Status.IsBad():
		h.e.end(inboxv1.CommandOutcome_COMMAND_OUTCOME_DONE, "", "")
	default:
		return false
	}
	return true
}

// withdraw takes a level request back. An answer that the device gave at the last moment still counts.
func (h *handshake) withdraw(ctx context.Context, answered bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resetWithin)
	defer cancel()
	off, err := h.level(false)
	for err == nil {
		if l := h.e.s.link(); l != nil {
			if !answered {
				if s, err := h.read(ctx, l); err == nil {
					answered = h.answered(ctx, l, s)
				}
			}
			if h.set(ctx, off) == nil {
				return
			}
		}
		if !wait(ctx, h.e.s.cfg.HandshakePoll) {
			h.e.result.Message += "; the request could not be taken back, the next command does it first"
			return
		}
	}
}
