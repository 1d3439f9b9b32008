package uaserver_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopcua/opcua"
	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/internal/uaserver"
)

func TestHighLevelClientReadsWritesAndSubscribes(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *uaserver.Options) { o.ExtraNamespaces, o.Lean = []string{"urn:other"}, false })
	v := s.Add("L1.Cmd.Target", uaserver.Variable{Value: uint32(7), At: at(1), Writable: true, Description: "target"})
	ctx := t.Context()
	c, err := opcua.NewClient(s.URL(), opcua.SecurityMode(ua.MessageSecurityModeNone), opcua.AutoReconnect(false))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	if ns, err := c.FindNamespace(ctx, "urn:test"); err != nil || ns != 3 || ns != s.Namespace() {
		t.Fatalf("namespace %d, %v", ns, err)
	}
	n := c.Node(v.NodeID())
	if got, err := n.Value(ctx); err != nil || got.Value() != uint32(7) {
		t.Fatalf("value %v, %v", got, err)
	}
	ch := make(chan *opcua.PublishNotificationData, 10)
	sub, err := c.Subscribe(ctx, &opcua.SubscriptionParameters{Interval: 10 * time.Millisecond}, ch)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sub.Monitor(ctx, ua.TimestampsToReturnBoth, opcua.NewMonitoredItemCreateRequestWithDefaults(v.NodeID(), ua.AttributeIDValue, 5)); err != nil {
		t.Fatal(err)
	}
	res, err := c.Write(ctx, &ua.WriteRequest{NodesToWrite: []*ua.WriteValue{{
		NodeID: v.NodeID(), AttributeID: ua.AttributeIDValue,
		Value: &ua.DataValue{EncodingMask: ua.DataValueValue, Value: ua.MustVariant(uint32(9))},
	}}})
	if err != nil || res.Results[0] != ua.StatusOK {
		t.Fatalf("write %v, %v", res, err)
	}
	seen := uint32(0)
	for seen != 9 {
		select {
		case d := <-ch:
			if d.Error != nil {
				t.Fatal(d.Error)
			}
			for _, m := range d.Value.(*ua.DataChangeNotification).MonitoredItems {
				seen = m.Value.Value.Value().(uint32)
			}
		case <-time.After(patience):
			t.Fatal("no notification of the written value")
		}
	}
	if err := sub.Cancel(ctx); err != nil {
		t.Fatal(err)
	}
}

func read(r *raw, ids ...*ua.ReadValueID) []*ua.DataValue {
	r.Helper()
	for _, i := range ids {
		i.DataEncoding = &ua.QualifiedName{}
	}
	return must[*ua.ReadResponse](r, &ua.ReadRequest{NodesToRead: ids, TimestampsToReturn: ua.TimestampsToReturnBoth}).Results
}

func node(n uint32) *ua.ReadValueID {
	return &ua.ReadValueID{NodeID: ua.NewNumericNodeID(0, n), AttributeID: ua.AttributeIDValue}
}

func TestReadReturnsTheOwnersTimeAndEveryAttribute(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	v := s.Add("L1.Speed", uaserver.Variable{Value: 120.5, Status: ua.StatusUncertainLastUsableValue, At: at(3), Description: "1/min", Historize: true})
	v.Set(nil, ua.StatusBadSensorFailure, at(4))
	r := connect(t, s, anonymous())
	attr := func(a ua.AttributeID) *ua.ReadValueID { return &ua.ReadValueID{NodeID: v.NodeID(), AttributeID: a} }
	got := read(r, attr(ua.AttributeIDValue), attr(ua.AttributeIDDataType), attr(ua.AttributeIDNodeClass),
		attr(ua.AttributeIDBrowseName), attr(ua.AttributeIDAccessLevel), attr(ua.AttributeIDDescription), attr(ua.AttributeIDExecutable))
	if got[0].Status != ua.StatusBadSensorFailure || !got[0].SourceTimestamp.Equal(at(4)) || got[0].Has(ua.DataValueValue) {
		t.Errorf("value %+v", got[0])
	}
	if n := got[1].Value.NodeID(); n.IntID() != id.Double {
		t.Errorf("data type %v", n)
	}
	if got[2].Value.Value() != int32(ua.NodeClassVariable) {
		t.Errorf("node class %v", got[2].Value.Value())
	}
	if q := got[3].Value.QualifiedName(); q.Name != "Speed" || q.NamespaceIndex != s.Namespace() {
		t.Errorf("browse name %+v", q)
	}
	if got[4].Value.Value() != byte(1|4) {
		t.Errorf("access level %v", got[4].Value.Value())
	}
	if got[5].Value.LocalizedText().Text != "1/min" {
		t.Errorf("description %v", got[5].Value.LocalizedText())
	}
	if got[6].Status != ua.StatusBadAttributeIDInvalid {
		t.Errorf("executable %v", got[6].Status)
	}
}

func TestStandardNodesTellStatusAndLimits(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *uaserver.Options) { o.Limits.MaxNodesPerRead = 8 })
	r := connect(t, s, anonymous())
	got := read(r, node(id.Server_ServerStatus), node(id.Server_ServerStatus_State), node(id.Server_ServerStatus_StartTime),
		node(id.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead), node(id.Server_NamespaceArray), node(id.Server_ServiceLevel),
		&ua.ReadValueID{NodeID: ua.NewNumericNodeID(0, id.Server), AttributeID: ua.AttributeIDBrowseName},
		node(99_999_999))
	st := got[0].Value.ExtensionObject().Value.(*ua.ServerStatusDataType)
	if st.State != ua.ServerStateRunning || st.StartTime.IsZero() || st.CurrentTime.Before(st.StartTime) {
		t.Errorf("status %+v", st)
	}
	if got[1].Value.Value() != int32(ua.ServerStateRunning) || !got[2].Value.Time().Equal(st.StartTime) {
		t.Errorf("state %v, start %v", got[1].Value.Value(), got[2].Value.Value())
	}
	if got[3].Value.Value() != uint32(8) || got[5].Value.Value() != byte(255) {
		t.Errorf("limit %v, level %v", got[3].Value.Value(), got[5].Value.Value())
	}
	if d := cmp.Diff([]string{"http://opcfoundation.org/UA/", "urn:test:server", "urn:test"}, got[4].Value.Value()); d != "" {
		t.Error(d)
	}
	if got[6].Value.QualifiedName().Name != "Server" {
		t.Errorf("browse name %v", got[6].Value.QualifiedName())
	}
	if got[7].Status != ua.StatusBadNodeIDUnknown {
		t.Errorf("unknown node: %v", got[7].Status)
	}
	_, err := send[*ua.ReadResponse](r, &ua.ReadRequest{NodesToRead: make9(node(id.Server_ServiceLevel))})
	wantCode(t, err, ua.StatusBadTooManyOperations)
	_, err = send[*ua.ReadResponse](r, &ua.ReadRequest{})
	wantCode(t, err, ua.StatusBadNothingToDo)
}

func make9(r *ua.ReadValueID) []*ua.ReadValueID {
	r.DataEncoding = &ua.QualifiedName{}
	out := make([]*ua.ReadValueID, 9)
	for i := range out {
		out[i] = r
	}
	return out
}

func TestWriteChecksNodeAccessTypeAndHook(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	free := s.Add("free", uaserver.Variable{Value: int32(1), Writable: true})
	only := s.Add("readonly", uaserver.Variable{Value: int32(1)})
	guarded := s.Add("guarded", uaserver.Variable{Value: "a", Writable: true})
	guarded.OnWrite(func(old, new any) ua.StatusCode {
		if old != "a" || new == "no" {
			return ua.StatusBadOutOfRange
		}
		return ua.StatusOK
	})
	r := connect(t, s, anonymous())
	wv := func(n *ua.NodeID, v any, mask byte) *ua.WriteValue {
		return &ua.WriteValue{NodeID: n, AttributeID: ua.AttributeIDValue, Value: &ua.DataValue{EncodingMask: mask, Value: ua.MustVariant(v), SourceTimestamp: at(1)}}
	}
	name := wv(free.NodeID(), int32(5), ua.DataValueValue)
	name.AttributeID = ua.AttributeIDDisplayName
	res := must[*ua.WriteResponse](r, &ua.WriteRequest{NodesToWrite: []*ua.WriteValue{
		wv(free.NodeID(), int32(5), ua.DataValueValue),
		wv(free.NodeID(), uint32(5), ua.DataValueValue),
		wv(free.NodeID(), []int32{5}, ua.DataValueValue),
		wv(free.NodeID(), int32(5), ua.DataValueValue|ua.DataValueSourceTimestamp),
		wv(only.NodeID(), int32(5), ua.DataValueValue),
		wv(ua.NewStringNodeID(s.Namespace(), "nowhere"), int32(5), ua.DataValueValue),
		wv(guarded.NodeID(), "no", ua.DataValueValue),
		wv(guarded.NodeID(), "b", ua.DataValueValue),
		name,
	}})
	want := []ua.StatusCode{
		ua.StatusOK, ua.StatusBadTypeMismatch, ua.StatusBadTypeMismatch, ua.StatusBadWriteNotSupported,
		ua.StatusBadNotWritable, ua.StatusBadNodeIDUnknown, ua.StatusBadOutOfRange, ua.StatusOK, ua.StatusBadNotWritable,
	}
	if d := cmp.Diff(want, res.Results); d != "" {
		t.Error(d)
	}
	if v, _, when := free.Value(); v != int32(5) || time.Since(when) > time.Minute {
		t.Errorf("free is %v at %v", v, when)
	}
	if v, _, _ := guarded.Value(); v != "b" {
		t.Errorf("guarded is %v", v)
	}
}

func TestOneHookDecidesOnAllWritesOfARequest(t *testing.T) {
	t.Parallel()
	var got [][]string
	s := start(t, func(o *uaserver.Options) {
		o.OnWrite = func(ws []uaserver.Write) []ua.StatusCode {
			var names []string
			for _, w := range ws {
				names = append(names, w.Var.Name())
			}
			got = append(got, names)
			ws[0].Var.Set(ws[0].Value, ua.StatusOK, at(9))
			return []ua.StatusCode{ua.StatusOK, ua.StatusBadOutOfRange}
		}
	})
	a := s.Add("a", uaserver.Variable{Value: int32(1), Writable: true})
	b := s.Add("b", uaserver.Variable{Value: int32(1), Writable: true})
	r := connect(t, s, anonymous())
	dv := &ua.DataValue{EncodingMask: ua.DataValueValue, Value: ua.MustVariant(int32(2))}
	res := must[*ua.WriteResponse](r, &ua.WriteRequest{NodesToWrite: []*ua.WriteValue{
		{NodeID: ua.NewNumericNodeID(0, id.Server_ServiceLevel), AttributeID: ua.AttributeIDValue, Value: dv},
		{NodeID: a.NodeID(), AttributeID: ua.AttributeIDValue, Value: dv},
		{NodeID: b.NodeID(), AttributeID: ua.AttributeIDValue, Value: dv},
	}})
	if d := cmp.Diff([]ua.StatusCode{ua.StatusBadNotWritable, ua.StatusOK, ua.StatusBadOutOfRange}, res.Results); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([][]string{{"a", "b"}}, got); d != "" {
		t.Error(d)
	}
	if v, _, when := a.Value(); v != int32(2) || !when.Equal(at(9)) {
		t.Errorf("a is %v at %v", v, when)
	}
}

func TestBrowseWalksFoldersAndPages(t *testing.T) {
	t.Parallel()
	for _, lean := range []bool{true, false} {
		browseAll(t, start(t, func(o *uaserver.Options) { o.Lean = lean }))
	}
}

func browseAll(t *testing.T, s *uaserver.Server) {
	t.Helper()
	for _, n := range []string{"L1.State", "L1.Cnt.Good", "L1.Cnt.Scrap", "L2.State"} {
		s.Add(n, uaserver.Variable{Value: int32(0)})
	}
	s.Remove("L2.State")
	r := connect(t, s, anonymous())
	browse := func(n *ua.NodeID, max uint32) *ua.BrowseResult {
		return must[*ua.BrowseResponse](r, &ua.BrowseRequest{
			View: &ua.ViewDescription{ViewID: ua.NewTwoByteNodeID(0)}, RequestedMaxReferencesPerNode: max,
			NodesToBrowse: []*ua.BrowseDescription{{NodeID: n, ReferenceTypeID: ua.NewNumericNodeID(0, id.HierarchicalReferences), IncludeSubtypes: true, ResultMask: 63}},
		}).Results[0]
	}
	names := func(refs []*ua.ReferenceDescription) (out []string) {
		for _, x := range refs {
			out = append(out, x.BrowseName.Name)
		}
		return out
	}
	objects := names(browse(ua.NewNumericNodeID(0, id.ObjectsFolder), 0).References)
	if d := cmp.Diff([]string{"L1", "L2"}, objects[len(objects)-2:]); d != "" {
		t.Error(d)
	}
	first := browse(ua.NewStringNodeID(s.Namespace(), "L1"), 1)
	if d := cmp.Diff([]string{"Cnt"}, names(first.References)); d != "" {
		t.Error(d)
	}
	next := must[*ua.BrowseNextResponse](r, &ua.BrowseNextRequest{ContinuationPoints: [][]byte{first.ContinuationPoint}}).Results[0]
	if d := cmp.Diff([]string{"State"}, names(next.References)); d != "" || len(next.ContinuationPoint) != 0 {
		t.Error(d, next.ContinuationPoint)
	}
	again := must[*ua.BrowseNextResponse](r, &ua.BrowseNextRequest{ContinuationPoints: [][]byte{first.ContinuationPoint}}).Results[0]
	if again.StatusCode != ua.StatusBadContinuationPointInvalid {
		t.Errorf("used point: %v", again.StatusCode)
	}
	if got := browse(ua.NewStringNodeID(s.Namespace(), "L7"), 0).StatusCode; got != ua.StatusBadNodeIDUnknown {
		t.Errorf("unknown folder: %v", got)
	}
	if got := names(browse(ua.NewStringNodeID(s.Namespace(), "L2"), 0).References); len(got) != 0 {
		t.Errorf("empty folder has %v", got)
	}
	path := func(names ...string) *ua.BrowsePath {
		p := &ua.RelativePath{}
		for _, n := range names {
			p.Elements = append(p.Elements, &ua.RelativePathElement{ReferenceTypeID: ua.NewTwoByteNodeID(0), TargetName: &ua.QualifiedName{NamespaceIndex: s.Namespace(), Name: n}})
		}
		return &ua.BrowsePath{StartingNode: ua.NewNumericNodeID(0, id.ObjectsFolder), RelativePath: p}
	}
	tr := must[*ua.TranslateBrowsePathsToNodeIDsResponse](r, &ua.TranslateBrowsePathsToNodeIDsRequest{
		BrowsePaths: []*ua.BrowsePath{path("L1", "Cnt", "Good"), path("L1", "Nope")},
	}).Results
	if tr[0].StatusCode != ua.StatusOK || tr[0].Targets[0].TargetID.NodeID.StringID() != "L1.Cnt.Good" || tr[1].StatusCode != ua.StatusBadNoMatch {
		t.Errorf("translated to %+v, %v", tr[0], tr[1].StatusCode)
	}
}

// clientKeys makes an application certificate.
func clientKeys(t *testing.T) ([]byte, *rsa.PrivateKey) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		URIs: []*url.URL{{Scheme: "urn", Opaque: "test:client"}},
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

func TestUsersLogInOnSecureAndOpenChannels(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *uaserver.Options) {
		o.Secure, o.NoAnonymous, o.Users, o.Lean = true, true, map[string]string{"alice": "secret"}, false
	})
	s.Add("v", uaserver.Variable{Value: int32(42)})
	der, key := clientKeys(t)
	eps, err := opcua.GetEndpoints(t.Context(), s.URL())
	if err != nil || len(eps) != 3 {
		t.Fatalf("%d endpoints, %v", len(eps), err)
	}
	for _, e := range eps {
		t.Run(e.SecurityMode.String(), func(t *testing.T) {
			t.Parallel()
			opts := []opcua.Option{opcua.SecurityFromEndpoint(e, ua.UserTokenTypeUserName)}
			if e.SecurityMode != ua.MessageSecurityModeNone {
				opts = append(opts, opcua.Certificate(der), opcua.PrivateKey(key))
			}
			cfg := anonymous()
			cfg.UserIdentityToken = &ua.UserNameIdentityToken{PolicyID: "username", UserName: "alice"}
			cfg.AuthPolicyURI, cfg.AuthPassword = ua.SecurityPolicyURIBasic256Sha256, "secret"
			r := connect(t, s, cfg, opts...)
			if got := read(r, &ua.ReadValueID{NodeID: s.Var("v").NodeID(), AttributeID: ua.AttributeIDValue}); got[0].Value.Value() != int32(42) {
				t.Errorf("read %v", got[0])
			}
			cfg.AuthPassword = "wrong"
			bad := channel(t, s, opts...)
			sess, err := bad.c.CreateSession(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			wantCode(t, bad.c.ActivateSession(t.Context(), sess), ua.StatusBadUserAccessDenied)
			sess, err = bad.c.CreateSession(t.Context(), anonymous())
			if err != nil {
				t.Fatal(err)
			}
			wantCode(t, bad.c.ActivateSession(t.Context(), sess), ua.StatusBadIdentityTokenRejected)
		})
	}
}

func TestSecureOnlyRefusesOpenChannels(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *uaserver.Options) { o.SecureOnly = true })
	r := channel(t, s)
	_, err := r.c.CreateSession(t.Context(), anonymous())
	wantCode(t, err, ua.StatusBadSecurityPolicyRejected)
}

func TestSecureChannelRenewsUnderLoad(t *testing.T) {
	t.Parallel()
	for _, lean := range []bool{true, false} {
		t.Run(map[bool]string{true: "lean", false: "library"}[lean], func(t *testing.T) {
			t.Parallel()
			renewUnderLoad(t, start(t, func(o *uaserver.Options) { o.Secure, o.Lean = true, lean }))
		})
	}
}

func renewUnderLoad(t *testing.T, s *uaserver.Server) {
	t.Helper()
	v := s.Add("v", uaserver.Variable{Value: int32(0), At: at(0)})
	der, key := clientKeys(t)
	eps, err := opcua.GetEndpoints(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	e, err := opcua.SelectEndpoint(eps, "Basic256Sha256", ua.MessageSecurityModeSignAndEncrypt)
	if err != nil {
		t.Fatal(err)
	}
	// A token lifetime of 2 s is renewed after 1 s.
	r := connect(t, s, anonymous(), opcua.SecurityFromEndpoint(e, ua.UserTokenTypeAnonymous),
		opcua.Certificate(der), opcua.PrivateKey(key), opcua.Lifetime(2*time.Second))
	r.subscribe(10*time.Millisecond, 5, 1000, 0)
	r.monitor(param{queue: 1000}, v.NodeID())
	stop := time.After(3500 * time.Millisecond)
	want, set := int32(0), int32(0)
	for {
		select {
		case <-stop:
			return
		default:
		}
		set++
		v.Set(set, ua.StatusOK, at(int(set)))
		for want <= set {
			res, items := r.data()
			for _, got := range values(items) {
				if got != want {
					t.Fatalf("got %d, want %d", got, want)
				}
				want++
			}
			r.publishAck(res)
		}
	}
}

func (r *raw) publishAck(res *ua.PublishResponse) {
	r.Helper()
	r.publish(res.NotificationMessage.SequenceNumber)
}
