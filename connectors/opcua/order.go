package opcua

import (
	"context"
	"errors"
	"fmt"

	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/connectors/opcua/wire"
)

// maxRepublish bounds how many missing messages are asked for one by one; no server keeps more.
const maxRepublish = 1000

// lostMessage reports that a message cannot be had any more: it is not kept, cannot be decoded or is too large.
func lostMessage(err error) bool {
	return errors.Is(err, ua.StatusBadMessageNotAvailable) || errors.Is(err, ua.StatusBadDecodingError) ||
		errors.Is(err, ua.StatusBadEncodingLimitsExceeded) || errors.Is(err, ua.StatusBadResponseTooLarge)
}

// sequence puts a message into its place: what is missing before it is asked for again, what came before is dropped.
// A keep-alive carries the number of the message that comes next (Part 4 5.13.1.1).
func (p *pump) sequence(ctx context.Context, pub *wire.Publish) error {
	m := pub.Message
	if p.any {
		p.start(pub)
	}
	if err := p.recover(ctx, m.Sequence); err != nil {
		return err
	}
	switch d := ahead(p.want, m.Sequence); {
	case m.KeepAlive:
		if p.lost { // nothing follows that could carry the mark
			p.lost = false
			p.hold(arrived{m: wire.Message{Published: m.Published}, lost: true})
		}
		if p.gap == nil && len(p.held) == 0 {
			p.newest().promise(m.Published)
		}
	case d < 0:
		p.s.host.Count("messages_repeated", 1)
	default:
		p.accept(m, pub.More)
	}
	return nil
}

// start decides which number a subscription begins with: on one that we resume, the oldest that the server keeps.
func (p *pump) start(pub *wire.Publish) {
	p.any, p.want = false, pub.Message.Sequence
	if p.fresh {
		return
	}
	for _, n := range pub.Available {
		if ahead(p.want, n) < 0 {
			p.want = n
		}
	}
}

// recover asks again for every message before upTo that did not arrive.
func (p *pump) recover(ctx context.Context, upTo uint32) error {
	if n := ahead(p.want, upTo); n > 0 {
		p.s.host.Count("sequence_gaps", 1)
		if n > maxRepublish {
			p.want, p.lost = upTo, true
		}
	}
	for ahead(p.want, upTo) > 0 {
		m, err := p.republish(ctx, p.want)
		switch {
		case err == nil:
			p.accept(m, true) // more follows: it promises no watermark
		case lostMessage(err):
			p.s.host.Count("messages_lost", 1)
			p.lost = true
			p.wraps, p.want = next(p.wraps, p.want)
		default:
			return err
		}
	}
	return nil
}

func (p *pump) republish(ctx context.Context, n uint32) (wire.Message, error) {
	m, err := call[*wire.Message](ctx, p.l, &ua.RepublishRequest{SubscriptionID: p.s.rec.Subscription, RetransmitSequenceNumber: n})
	if err != nil {
		return wire.Message{}, fmt.Errorf("asking for message %d again: %w", n, err)
	}
	if m.Sequence != n {
		return wire.Message{}, fmt.Errorf("asking for message %d again: %d came: %w", n, m.Sequence, ua.StatusBadUnknownResponse)
	}
	p.s.host.Count("messages_republished", 1)
	if m.Published.After(p.heard) {
		p.heard = m.Published
	}
	return *m, nil
}

// accept takes the message that is next in order.
func (p *pump) accept(m wire.Message, more bool) {
	p.hold(arrived{m: m, wraps: p.wraps, more: more, lost: p.lost})
	p.lost = false
	p.wraps, p.want = next(p.wraps, p.want)
}

func (p *pump) hold(a arrived) {
	p.held = append(p.held, a)
	p.heldSamples += len(a.m.Changes)
	p.gap.bounded(a.m.Changes)
	p.drain()
}

// drain hands messages on in their order, up to a gap that must be filled first.
func (p *pump) drain() {
	for p.gap == nil && len(p.held) > 0 {
		a := &p.held[0]
		if !a.checked {
			a.checked = true
			if p.gap = p.gapBefore(a); p.gap != nil {
				return
			}
		}
		p.hand(a)
		p.heldSamples -= len(a.m.Changes)
		p.held = p.held[1:]
	}
}
