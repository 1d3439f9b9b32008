package uaserver_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"
	"go.uber.org/goleak"

	"github.com/plantloom/plantloom/internal/uaserver"
)

func TestASessionSurvivesItsConnection(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	v := s.Add("v", uaserver.Variable{Value: int32(0), At: at(0)})
	r := connect(t, s, anonymous())
	r.subscribe(fast, 1000, 3000, 0)
	r.monitor(param{queue: 100}, v.NodeID())
	r.data()
	lost := make(chan error, 1)
	go func() {
		_, err := r.tryPublish()
		lost <- err
	}()
	eventually(t, "request queued", func() bool { return s.Stats().PublishRequests == 1 })
	s.DropConnections()
	if err := <-lost; err == nil {
		t.Error("the cut connection answered")
	}
	eventually(t, "request forgotten", func() bool { return s.Stats().PublishRequests == 0 })
	for i := int32(1); i <= 3; i++ {
		v.Set(i, ua.StatusOK, at(int(i)))
	}
	r2 := channel(t, s)
	// Another channel may not use the session before it is activated there.
	if err := r2.c.ActivateSession(t.Context(), r.sess); err != nil {
		t.Fatal(err)
	}
	r2.sub = r.sub
	res, items := r2.data()
	if d := cmp.Diff([]int32{1, 2, 3}, values(items)); d != "" || res.NotificationMessage.SequenceNumber != 2 {
		t.Error(d, res.NotificationMessage.SequenceNumber)
	}
	if d := cmp.Diff([]uint32{1, 2}, res.AvailableSequenceNumbers); d != "" {
		t.Error(d)
	}
	if m, err := r2.republish(1); err != nil || m.SequenceNumber != 1 {
		t.Errorf("republish %v, %v", m, err)
	}
}

func TestAFrozenLinkLosesNothingWhenItThaws(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	v := s.Add("v", uaserver.Variable{Value: int32(0), At: at(0)})
	r := connect(t, s, anonymous())
	r.subscribe(fast, 1000, 3000, 0)
	r.monitor(param{queue: 100}, v.NodeID())
	r.data()
	s.Freeze(true)
	v.Set(int32(1), ua.StatusOK, at(1))
	got := make(chan *ua.PublishResponse)
	go func() {
		res, err := r.tryPublish()
		if err != nil {
			t.Error(err)
		}
		got <- res
	}()
	select {
	case <-got:
		t.Fatal("a frozen link answered")
	case <-time.After(100 * time.Millisecond):
	}
	s.Freeze(false)
	if d := cmp.Diff([]int32{1}, values(changes(t, (<-got).NotificationMessage))); d != "" {
		t.Error(d)
	}
}

func TestAnExpiredSessionLeavesItsSubscriptionForTransfer(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	v := s.Add("v", uaserver.Variable{Value: int32(0), At: at(0)})
	quiet := s.Add("quiet", uaserver.Variable{Value: int32(50), At: at(0)})
	r := connect(t, s, anonymous())
	r.subscribe(fast, 1000, 3000, 0)
	r.monitor(param{queue: 100}, v.NodeID(), quiet.NodeID())
	r.data()
	s.ExpireSessions()
	v.Set(int32(1), ua.StatusOK, at(1))
	_, err := r.tryPublish()
	wantCode(t, err, ua.StatusBadSessionIDInvalid)

	r2 := connect(t, s, anonymous())
	r2.sub = r.sub
	_, err = r2.republish(1)
	wantCode(t, err, ua.StatusBadSubscriptionIDInvalid)
	res := must[*ua.TransferSubscriptionsResponse](r2, &ua.TransferSubscriptionsRequest{SubscriptionIDs: []uint32{r.sub, 999}, SendInitialValues: true}).Results
	if res[0].StatusCode != ua.StatusOK || res[1].StatusCode != ua.StatusBadSubscriptionIDInvalid {
		t.Errorf("%v, %v", res[0].StatusCode, res[1].StatusCode)
	}
	if d := cmp.Diff([]uint32{1}, res[0].AvailableSequenceNumbers); d != "" {
		t.Error(d)
	}
	if _, err := r2.republish(1); err != nil {
		t.Error(err)
	}
	msg, items := r2.data()
	// The queued value is not repeated; the quiet item's last value is.
	got := map[uint32]int32{}
	for _, i := range items {
		got[i.ClientHandle] = i.Value.Value.Value().(int32)
	}
	if d := cmp.Diff(map[uint32]int32{1: 1, 2: 50}, got); d != "" || len(items) != 2 || msg.NotificationMessage.SequenceNumber != 2 {
		t.Error(d, msg.NotificationMessage.SequenceNumber, len(items))
	}
}

func TestATransferTellsTheOldSession(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	v := s.Add("v", uaserver.Variable{Value: int32(0), At: at(0)})
	r := connect(t, s, anonymous())
	r.subscribe(fast, 1000, 3000, 0)
	r.monitor(param{queue: 100}, v.NodeID())
	r.data()
	told := make(chan *ua.PublishResponse)
	go func() {
		res, err := r.tryPublish()
		if err != nil {
			t.Error(err)
		}
		told <- res
	}()
	eventually(t, "request queued", func() bool { return s.Stats().PublishRequests == 1 })
	r2 := connect(t, s, anonymous())
	r2.sub = r.sub
	res := must[*ua.TransferSubscriptionsResponse](r2, &ua.TransferSubscriptionsRequest{SubscriptionIDs: []uint32{r.sub}})
	if res.Results[0].StatusCode != ua.StatusOK {
		t.Fatal(res.Results[0].StatusCode)
	}
	if code := statusChange(t, (<-told).NotificationMessage); code != ua.StatusGoodSubscriptionTransferred {
		t.Errorf("told %v", code)
	}
	v.Set(int32(1), ua.StatusOK, at(1))
	msg, items := r2.data()
	if msg.NotificationMessage.SequenceNumber != 2 || values(items)[0] != 1 {
		t.Errorf("message %d with %v", msg.NotificationMessage.SequenceNumber, values(items))
	}
}

func TestTransferCanBeRefused(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *uaserver.Options) { o.Users = map[string]string{"bob": "pw"} })
	r := connect(t, s, anonymous())
	r.subscribe(fast, 10, 3000, 0)
	cfg := anonymous()
	cfg.UserIdentityToken = &ua.UserNameIdentityToken{PolicyID: "username", UserName: "bob"}
	cfg.AuthPolicyURI, cfg.AuthPassword = ua.SecurityPolicyURINone, "pw"
	bob := connect(t, s, cfg)
	req := &ua.TransferSubscriptionsRequest{SubscriptionIDs: []uint32{r.sub}}
	if got := must[*ua.TransferSubscriptionsResponse](bob, req).Results[0].StatusCode; got != ua.StatusBadUserAccessDenied {
		t.Errorf("another user: %v", got)
	}
	s.Inject(func(service string, _ int) *uaserver.Fault {
		if service == "TransferSubscriptions" {
			return &uaserver.Fault{Status: ua.StatusBadServiceUnsupported}
		}
		return nil
	})
	_, err := send[*ua.TransferSubscriptionsResponse](r, req)
	wantCode(t, err, ua.StatusBadServiceUnsupported)
}

func TestSessionsAreGuardedAndLimited(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *uaserver.Options) {
		o.Limits.MaxSessions = 2
		o.Limits.MinSessionTimeout = 50 * time.Millisecond
	})
	cfg := anonymous()
	cfg.SessionTimeout = 60 * time.Millisecond
	r := connect(t, s, cfg)
	if got := r.sess.RevisedTimeout(); got != 60*time.Millisecond {
		t.Errorf("revised to %v", got)
	}
	eventually(t, "session timed out", func() bool { return s.Stats().Sessions == 0 })
	one := node(id.Server_ServiceLevel)
	one.DataEncoding = &ua.QualifiedName{}
	_, err := send[*ua.ReadResponse](r, &ua.ReadRequest{NodesToRead: []*ua.ReadValueID{one}})
	wantCode(t, err, ua.StatusBadSessionIDInvalid)

	a := connect(t, s, anonymous())
	b := channel(t, s)
	sess, err := b.c.CreateSession(t.Context(), anonymous())
	if err != nil {
		t.Fatal(err)
	}
	// A session is first activated where it was created.
	wantCode(t, a.c.ActivateSession(t.Context(), sess), ua.StatusBadSessionNotActivated)
	_, err = channel(t, s).c.CreateSession(t.Context(), anonymous())
	wantCode(t, err, ua.StatusBadTooManySessions)
	if err := a.c.CloseSession(t.Context()); err != nil {
		t.Error(err)
	}
	eventually(t, "session closed", func() bool { return s.Stats().Sessions == 1 })
}

func TestAMalformedRequestEndsTheConnectionAtOnce(t *testing.T) {
	t.Parallel()
	for _, lean := range []bool{true, false} {
		malformed(t, start(t, func(o *uaserver.Options) { o.Lean = lean }))
	}
}

func malformed(t *testing.T, s *uaserver.Server) {
	t.Helper()
	r := connect(t, s, anonymous())
	// Without a data encoding the library's encoder writes a broken request.
	begin := time.Now()
	_, err := send[*ua.ReadResponse](r, &ua.ReadRequest{NodesToRead: []*ua.ReadValueID{node(id.Server_ServiceLevel)}})
	if err == nil || time.Since(begin) > patience/2 {
		t.Errorf("answered %v after %v", err, time.Since(begin))
	}
	if got := s.Stats().Sessions; got != 1 {
		t.Errorf("%d sessions", got)
	}
}

func TestCloseSessionDeletesSubscriptionsOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for _, del := range []bool{false, true} {
		r := connect(t, s, anonymous())
		r.subscribe(fast, 100, 3000, 0)
		before := s.Stats().Subscriptions
		must[*ua.CloseSessionResponse](r, &ua.CloseSessionRequest{DeleteSubscriptions: del})
		want := before
		if del {
			want--
		}
		if got := s.Stats().Subscriptions; got != want {
			t.Errorf("delete %v: %d subscriptions, want %d", del, got, want)
		}
	}
}

// TestCloseIsQuickAndLeavesNothing is not parallel: it looks at all goroutines.
func TestCloseIsQuickAndLeavesNothing(t *testing.T) {
	for _, lean := range []bool{true, false} {
		before := goleak.IgnoreCurrent()
		s, err := uaserver.New(uaserver.Options{NamespaceURI: "urn:test", Now: time.Now, Lean: lean})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		r := connect(t, s, anonymous())
		r.subscribe(fast, 100, 3000, 0)
		s.Freeze(true)
		begin := time.Now()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("close took %v", d)
		}
		if err := s.Close(); err != nil {
			t.Errorf("second close: %v", err)
		}
		_, _ = r.c.DetachSession(t.Context())
		_ = r.c.Close(t.Context())
		goleak.VerifyNone(t, before)
	}
}
