package opcua

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/connectors/opcua/wire"
)

// watchdog is how long the server may be silent.
func (p *pump) watchdog() time.Duration { return 2*p.s.rec.KeepAlive + time.Second }

func (p *pump) silent() error {
	if len(p.l.sent) > 0 {
		return fmt.Errorf("%s said nothing for %v, twice its keep-alive; the connection is taken for dead", p.s.cfg.Endpoint, p.watchdog())
	}
	p.silence.Reset(p.watchdog()) // nothing was asked
	return nil
}

// ask keeps enough PublishRequests with the server, and none while we cannot take more: then values wait in the
// server's queues.
func (p *pump) ask(ctx context.Context) error {
	unacknowledged, most := len(p.held)+p.waiting.messages, maxUnacknowledged
	samples := p.heldSamples + p.waiting.samples
	if p.gap != nil {
		most = maxHeld
	}
	if len(p.l.sent) == 0 {
		p.silence.Reset(p.watchdog())
	}
	for len(p.l.sent) < p.limit && unacknowledged+len(p.l.sent) < most && samples < maxSamples {
		acks := p.acks
		if acks == nil {
			acks = []*ua.SubscriptionAcknowledgement{}
		}
		n, err := p.l.ch.Go(ctx, &ua.PublishRequest{SubscriptionAcknowledgements: acks}, p.l.auth, 0, p.l.replies)
		if err != nil {
			return fmt.Errorf("asking for notifications: %w", err)
		}
		p.l.sent[n], p.acks = acks, nil
		p.lastAsked = p.s.host.Now()
	}
	return p.stay(ctx)
}

// stay keeps the session alive while the outlet is blocked and nothing is asked for. The answer does not matter.
func (p *pump) stay(ctx context.Context) error {
	if p.s.session == nil || p.s.host.Now().Sub(p.lastAsked) < p.s.session.timeout/3 {
		return nil
	}
	p.lastAsked = p.s.host.Now()
	req := &ua.ReadRequest{NodesToRead: []*ua.ReadValueID{{
		NodeID: ua.NewNumericNodeID(0, id.Server_ServerStatus_State), AttributeID: ua.AttributeIDValue, DataEncoding: &ua.QualifiedName{},
	}}}
	if _, err := p.l.ch.Go(ctx, req, p.l.auth, p.s.cfg.CallTimeout, make(chan wire.Reply, 1)); err != nil {
		return fmt.Errorf("keeping the session alive: %w", err)
	}
	return nil
}

// reply takes one answer to a PublishRequest.
func (p *pump) reply(ctx context.Context, r wire.Reply) error {
	acks := p.l.sent[r.ID]
	delete(p.l.sent, r.ID)
	p.silence.Reset(p.watchdog())
	v, err := r.Decode()
	pub, ok := v.(*wire.Publish)
	switch {
	case err == nil && !ok:
		return fmt.Errorf("asking for notifications: %T came: %w", v, ua.StatusBadUnknownResponse)
	case err == nil:
		return p.published(ctx, pub)
	case errors.Is(err, ua.StatusBadTooManyPublishRequests):
		p.limit = max(1, p.limit/2)
		p.acks = append(acks, p.acks...)
		return nil
	case errors.Is(err, ua.StatusBadTimeout), lostMessage(err):
		// Some servers let idle requests time out. A message that cannot be decoded shows as a gap.
		p.s.host.Count("publish_failed", 1)
		p.acks = append(acks, p.acks...)
		return nil
	}
	return fmt.Errorf("asking for notifications: %w", err)
}

func (p *pump) published(ctx context.Context, pub *wire.Publish) error {
	if pub.Subscription != p.s.rec.Subscription {
		return p.foreign(ctx, pub.Subscription)
	}
	if !pub.Header.At.IsZero() {
		p.skew = pub.Header.At.Sub(p.s.host.Now())
		p.s.host.Gauge("clock_skew_seconds", p.skew.Seconds())
	}
	if pub.Message.Published.IsZero() { // some servers leave it out
		pub.Message.Published = pub.Header.At
	}
	if pub.Message.Published.After(p.heard) {
		p.heard = pub.Message.Published
	}
	p.acknowledgeOld(pub.Available)
	if err := p.sequence(ctx, pub); err != nil {
		return err
	}
	if pub.Message.Changed {
		return fmt.Errorf("%w: %s", errStatusChange, statusText(pub.Message.Status))
	}
	return nil
}

// acknowledgeOld lets the server forget what was durable before this connection, whose acknowledgements were lost.
func (p *pump) acknowledgeOld(available []uint32) {
	if p.cleaned || p.s.rec.Sequence == 0 {
		return
	}
	p.cleaned = true
	for _, n := range available {
		if ahead(p.s.rec.Sequence, n) <= 0 {
			p.acks = append(p.acks, &ua.SubscriptionAcknowledgement{SubscriptionID: p.s.rec.Subscription, SequenceNumber: n})
		}
	}
}

// foreign deletes a subscription that is not ours any more, since its messages would take our requests for ever.
func (p *pump) foreign(ctx context.Context, subscription uint32) error {
	_, err := call[*ua.DeleteSubscriptionsResponse](ctx, p.l, &ua.DeleteSubscriptionsRequest{SubscriptionIDs: []uint32{subscription}})
	if err != nil && p.l.ch.Err() != nil {
		return fmt.Errorf("deleting an abandoned subscription: %w", err)
	}
	p.s.host.Log.Info("abandoned subscription deleted", "connector", p.s.host.ID, "subscription", subscription, "err", err)
	return nil
}
