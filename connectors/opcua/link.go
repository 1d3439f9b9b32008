package opcua

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/connectors/opcua/wire"
	"github.com/plantloom/plantloom/pipeline"
)

// link is one connection with an activated session. Its methods may be called from any goroutine.
type link struct {
	ch       *wire.Channel
	auth     *ua.NodeID
	endpoint *ua.EndpointDescription
	host     pipeline.Host
	resumed  bool // the session is the one of the link before, and so are its subscriptions

	// PublishRequests belong to the session and outlive a subscription. Run alone uses these.
	replies chan wire.Reply
	sent    map[uint32][]*ua.SubscriptionAcknowledgement // acknowledgements by request

	// read once after the login
	serverURI  string
	startedAt  time.Time
	roundTrip  time.Duration
	namespaces []string

	mu        sync.Mutex
	serverNow time.Time // of the newest Read
	limits    limits
	types     map[int]nodeType // of written tags
}

// limits are how many operations one request may have.
type limits struct{ read, items, history int }

const (
	defaultLimit   = 1000
	defaultHistory = 100
)

// call sends a request and wants an answer of one type.
func call[T any](ctx context.Context, l *link, req ua.Request) (T, error) {
	var zero T
	v, err := l.ch.Call(ctx, l.auth, req)
	if err != nil {
		return zero, err
	}
	t, ok := v.(T)
	if !ok {
		return zero, fmt.Errorf("the server answered with %T: %w", v, ua.StatusBadUnknownResponse)
	}
	return t, nil
}

// tooMuch reports that a request had more operations, or its answer more bytes, than the server takes.
func tooMuch(err error) bool {
	for _, code := range []ua.StatusCode{
		ua.StatusBadTooManyOperations, ua.StatusBadEncodingLimitsExceeded, ua.StatusBadRequestTooLarge,
		ua.StatusBadResponseTooLarge, ua.StatusBadTCPMessageTooLarge,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// batches calls f for 0..n in parts of at most *limit, which is halved when the server refuses a part as too much,
// and stays halved.
func (l *link) batches(n int, limit *int, f func(from, to int) error) error {
	for at := 0; at < n; {
		l.mu.Lock()
		size := min(*limit, n-at)
		l.mu.Unlock()
		err := f(at, at+size)
		switch {
		case err == nil:
			at += size
		case tooMuch(err) && size > 1 && l.ch.Err() == nil:
			l.mu.Lock()
			*limit = size / 2
			l.mu.Unlock()
		default:
			return err
		}
	}
	return nil
}

// attribute names what is read.
type attribute struct {
	node *ua.NodeID
	id   ua.AttributeID
}

// read reads attributes; the answer has as many values as were asked for.
func (l *link) read(ctx context.Context, what []attribute) ([]wire.DataValue, error) {
	out := make([]wire.DataValue, 0, len(what))
	err := l.batches(len(what), &l.limits.read, func(from, to int) error {
		req := &ua.ReadRequest{TimestampsToReturn: ua.TimestampsToReturnBoth}
		for _, a := range what[from:to] {
			req.NodesToRead = append(req.NodesToRead, &ua.ReadValueID{NodeID: a.node, AttributeID: a.id, DataEncoding: &ua.QualifiedName{}})
		}
		resp, err := call[*wire.Read](ctx, l, req)
		if err != nil {
			return err
		}
		if len(resp.Values) != to-from {
			return fmt.Errorf("%d values for %d nodes: %w", len(resp.Values), to-from, ua.StatusBadUnknownResponse)
		}
		out = append(out, resp.Values...)
		l.mu.Lock()
		l.serverNow = resp.Header.At
		l.mu.Unlock()
		return nil
	})
	return out, err
}

// learn reads what the server says of itself: namespaces, start time, state and limits.
func (l *link) learn(ctx context.Context) error {
	l.limits = limits{read: defaultLimit, items: defaultLimit, history: defaultHistory}
	nodes := []uint32{
		id.Server_NamespaceArray, id.Server_ServerStatus_StartTime, id.Server_ServerStatus_State,
		id.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
		id.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
		id.Server_ServerCapabilities_OperationLimits_MaxNodesPerHistoryReadData,
	}
	what := make([]attribute, len(nodes))
	for i, n := range nodes {
		what[i] = attribute{ua.NewNumericNodeID(0, n), ua.AttributeIDValue}
	}
	began := l.host.Now()
	v, err := l.read(ctx, what)
	if err != nil {
		return err
	}
	l.roundTrip = l.host.Now().Sub(began)
	if err := json.Unmarshal([]byte(v[0].Value.AsText()), &l.namespaces); err != nil {
		return fmt.Errorf("the namespace array is %s (%v): %w", v[0].Value, v[0].Status, err)
	}
	l.startedAt = v[1].Value.AsTime()
	if state := v[2].Value; state.Type() == pipeline.TypeInt && ua.ServerState(state.AsInt()) != ua.ServerStateRunning {
		return fmt.Errorf("the server is in state %v; waiting until it runs", ua.ServerState(state.AsInt()))
	}
	for i, limit := range []*int{&l.limits.read, &l.limits.items, &l.limits.history} {
		if n := v[3+i].Value; n.Type() == pipeline.TypeUint && n.AsUint() > 0 {
			*limit = int(min(n.AsUint(), 100_000))
		}
	}
	return nil
}

// clock is what the server's clock said at the newest Read.
func (l *link) clock() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.serverNow
}
