package uaserver_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gopcua/opcua"
	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uasc"

	"github.com/plantloom/plantloom/internal/uaserver"
)

const patience = 20 * time.Second

// start runs a server until the test ends. It is a lean one unless change says
// otherwise.
func start(t *testing.T, change func(*uaserver.Options)) *uaserver.Server {
	t.Helper()
	opts := uaserver.Options{NamespaceURI: "urn:test", Now: time.Now, Lean: true}
	if change != nil {
		change(&opts)
	}
	s, err := uaserver.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// raw is a client that sends single requests: no reconnects, no hidden publish
// loop.
type raw struct {
	*testing.T
	c    *opcua.Client
	sess *opcua.Session
	sub  uint32
}

func anonymous() *uasc.SessionConfig {
	return &uasc.SessionConfig{
		SessionTimeout:     time.Minute,
		ClientDescription:  &ua.ApplicationDescription{ApplicationURI: "urn:test:client", ApplicationName: ua.NewLocalizedText("test"), ApplicationType: ua.ApplicationTypeClient},
		LocaleIDs:          []string{"en"},
		UserTokenSignature: &ua.SignatureData{},
		UserIdentityToken:  &ua.AnonymousIdentityToken{PolicyID: "anonymous"},
	}
}

// channel opens a connection without a session.
func channel(t *testing.T, s *uaserver.Server, opts ...opcua.Option) *raw {
	t.Helper()
	c, err := opcua.NewClient(s.URL(), append([]opcua.Option{opcua.AutoReconnect(false), opcua.RequestTimeout(patience)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Dial(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := &raw{T: t, c: c}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, _ = c.DetachSession(ctx)
		_ = c.Close(ctx)
	})
	return r
}

// connect opens a connection and a session.
func connect(t *testing.T, s *uaserver.Server, cfg *uasc.SessionConfig, opts ...opcua.Option) *raw {
	t.Helper()
	r := channel(t, s, opts...)
	sess, err := r.c.CreateSession(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.c.ActivateSession(t.Context(), sess); err != nil {
		t.Fatal(err)
	}
	r.sess = sess
	return r
}

func send[R ua.Response](r *raw, req ua.Request) (R, error) {
	var out R
	err := r.c.Send(r.Context(), req, func(v ua.Response) error {
		x, ok := v.(R)
		if !ok {
			return fmt.Errorf("answered by a %T", v)
		}
		out = x
		return nil
	})
	return out, err
}

func must[R ua.Response](r *raw, req ua.Request) R {
	r.Helper()
	out, err := send[R](r, req)
	if err != nil {
		r.Fatalf("%T: %v", req, err)
	}
	return out
}

func wantCode(t *testing.T, err error, code ua.StatusCode) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Errorf("error %v, want %v", err, code)
	}
}

// subscribe creates a subscription.
func (r *raw) subscribe(interval time.Duration, keepAlive, lifetime, max uint32) *ua.CreateSubscriptionResponse {
	r.Helper()
	res := must[*ua.CreateSubscriptionResponse](r, &ua.CreateSubscriptionRequest{
		RequestedPublishingInterval: float64(interval) / 1e6, RequestedMaxKeepAliveCount: keepAlive,
		RequestedLifetimeCount: lifetime, MaxNotificationsPerPublish: max, PublishingEnabled: true,
	})
	r.sub = res.SubscriptionID
	return res
}

type param struct {
	queue    uint32
	newest   bool // discard the newest instead of the oldest
	sampling float64
	filter   *ua.DataChangeFilter
}

// monitor creates items; client handles count from 1.
func (r *raw) monitor(p param, ids ...*ua.NodeID) *ua.CreateMonitoredItemsResponse {
	r.Helper()
	req := &ua.CreateMonitoredItemsRequest{SubscriptionID: r.sub, TimestampsToReturn: ua.TimestampsToReturnBoth}
	for i, id := range ids {
		var filter *ua.ExtensionObject
		if p.filter != nil {
			filter = ua.NewExtensionObject(p.filter)
		}
		req.ItemsToCreate = append(req.ItemsToCreate, &ua.MonitoredItemCreateRequest{
			ItemToMonitor:  &ua.ReadValueID{NodeID: id, AttributeID: ua.AttributeIDValue, DataEncoding: &ua.QualifiedName{}},
			MonitoringMode: ua.MonitoringModeReporting,
			RequestedParameters: &ua.MonitoringParameters{
				ClientHandle: uint32(i + 1), QueueSize: p.queue, DiscardOldest: !p.newest, SamplingInterval: p.sampling, Filter: filter,
			},
		})
	}
	return must[*ua.CreateMonitoredItemsResponse](r, req)
}

func (r *raw) tryPublish(acks ...uint32) (*ua.PublishResponse, error) {
	req := &ua.PublishRequest{SubscriptionAcknowledgements: []*ua.SubscriptionAcknowledgement{}}
	for _, n := range acks {
		req.SubscriptionAcknowledgements = append(req.SubscriptionAcknowledgements, &ua.SubscriptionAcknowledgement{SubscriptionID: r.sub, SequenceNumber: n})
	}
	return send[*ua.PublishResponse](r, req)
}

func (r *raw) publish(acks ...uint32) *ua.PublishResponse {
	r.Helper()
	res, err := r.tryPublish(acks...)
	if err != nil {
		r.Fatalf("publish: %v", err)
	}
	return res
}

// data publishes until a message with notifications comes.
func (r *raw) data(acks ...uint32) (*ua.PublishResponse, []*ua.MonitoredItemNotification) {
	r.Helper()
	for {
		res := r.publish(acks...)
		if len(res.NotificationMessage.NotificationData) > 0 {
			return res, changes(r.T, res.NotificationMessage)
		}
		acks = nil
	}
}

func changes(t *testing.T, m *ua.NotificationMessage) []*ua.MonitoredItemNotification {
	t.Helper()
	d, ok := m.NotificationData[0].Value.(*ua.DataChangeNotification)
	if !ok {
		t.Fatalf("notification is a %T", m.NotificationData[0].Value)
	}
	return d.MonitoredItems
}

func (r *raw) republish(n uint32) (*ua.NotificationMessage, error) {
	res, err := send[*ua.RepublishResponse](r, &ua.RepublishRequest{SubscriptionID: r.sub, RetransmitSequenceNumber: n})
	if err != nil {
		return nil, err
	}
	return res.NotificationMessage, nil
}

func statusChange(t *testing.T, m *ua.NotificationMessage) ua.StatusCode {
	t.Helper()
	if len(m.NotificationData) != 1 {
		t.Fatalf("message with %d notifications", len(m.NotificationData))
	}
	n, ok := m.NotificationData[0].Value.(*ua.StatusChangeNotification)
	if !ok {
		t.Fatalf("notification is a %T", m.NotificationData[0].Value)
	}
	return n.Status
}

// eventually waits until f is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-deadline:
			t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

// values returns the numbers in a message.
func values(items []*ua.MonitoredItemNotification) []int32 {
	out := []int32{}
	for _, i := range items {
		out = append(out, i.Value.Value.Value().(int32))
	}
	return out
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return epoch.Add(time.Duration(seconds) * time.Second) }
