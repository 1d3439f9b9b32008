//go:build e2e

package servers

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopcua/opcua"
	"github.com/gopcua/opcua/ua"
)

const clientURI = "urn:plantloom:e2e:client"

// session is a client of another maker than the server.
type session struct {
	t *testing.T
	c *opcua.Client
	x uint16 // namespace index
}

func connect(t *testing.T, s *OPCUAServer, user, password string) (*session, error) {
	t.Helper()
	endpoints, err := opcua.GetEndpoints(t.Context(), s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	ep, err := opcua.SelectEndpoint(endpoints, "Basic256Sha256", ua.MessageSecurityModeSignAndEncrypt)
	if err != nil {
		t.Fatal(err)
	}
	key, cert := certificate(t)
	c, err := opcua.NewClient(s.Endpoint, opcua.SecurityFromEndpoint(ep, ua.UserTokenTypeUserName),
		opcua.AuthUsername(user, password), opcua.PrivateKey(key), opcua.Certificate(cert),
		opcua.ApplicationURI(clientURI), opcua.AutoReconnect(false))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Connect(t.Context()); err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	x, err := c.FindNamespace(t.Context(), "urn:plantloom:demo:plant")
	if err != nil {
		t.Fatal(err)
	}
	return &session{t: t, c: c, x: x}, nil
}

func certificate(t *testing.T) (*rsa.PrivateKey, []byte) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	uri, err := url.Parse(clientURI)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "plantloom e2e"}, URIs: []*url.URL{uri},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment | x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}

func (s *session) node(name string) *ua.NodeID { return ua.NewStringNodeID(s.x, "L1."+name) }

func (s *session) read(name string) any {
	s.t.Helper()
	resp, err := s.c.Read(s.t.Context(), &ua.ReadRequest{
		TimestampsToReturn: ua.TimestampsToReturnBoth,
		NodesToRead:        []*ua.ReadValueID{{NodeID: s.node(name), AttributeID: ua.AttributeIDValue}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.Results[0].Value.Value()
}

func (s *session) write(pairs ...any) []ua.StatusCode {
	s.t.Helper()
	req := &ua.WriteRequest{}
	for i := 0; i < len(pairs); i += 2 {
		req.NodesToWrite = append(req.NodesToWrite, &ua.WriteValue{
			NodeID: s.node(pairs[i].(string)), AttributeID: ua.AttributeIDValue,
			Value: &ua.DataValue{EncodingMask: ua.DataValueValue, Value: ua.MustVariant(pairs[i+1])},
		})
	}
	resp, err := s.c.Write(s.t.Context(), req)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.Results
}

// await polls a tag until it has the value.
func (s *session) await(name string, want any) {
	s.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for s.read(name) != want {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s is %v, waited for %v", name, s.read(name), want)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// load writes an order to the download block and returns the answer.
func (s *session) load(no string, target uint32, fill float64) (ok bool, errNo int32) {
	s.t.Helper()
	s.write("Cmd.OrderNo", no, "Cmd.Operation", "0010", "Cmd.Target", target, "Cmd.Material", "WATER-05",
		"Cmd.FillVolume", fill, "Cmd.CapTorque", 15.0, "Cmd.Load", true)
	deadline := time.Now().Add(10 * time.Second)
	for {
		loaded, refused := s.read("Cmd.Loaded").(bool), s.read("Cmd.Refused").(bool)
		if loaded || refused {
			errNo = s.read("Cmd.ErrNo").(int32)
			s.write("Cmd.Load", false)
			s.await("Cmd.Loaded", false)
			s.await("Cmd.Refused", false)
			return loaded, errNo
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("order %s: no answer", no)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// history returns all values of a tag. A request without a data encoding is
// one that this client encodes wrongly.
func (s *session) history(name string) []*ua.DataValue {
	s.t.Helper()
	resp, err := s.c.HistoryReadRawModified(s.t.Context(), []*ua.HistoryReadValueID{{NodeID: s.node(name), DataEncoding: &ua.QualifiedName{}}},
		&ua.ReadRawModifiedDetails{StartTime: time.Now().Add(-time.Hour), EndTime: time.Now().Add(time.Minute)})
	if err != nil {
		s.t.Fatal(err)
	}
	data, ok := resp.Results[0].HistoryData.Value.(*ua.HistoryData)
	if !ok {
		s.t.Fatalf("history of %s: %v, %T", name, resp.Results[0].StatusCode, resp.Results[0].HistoryData.Value)
	}
	return data.DataValues
}

func done(no string) func(Truth) bool {
	return func(t Truth) bool { return t.Event == "order_done" && t.Order == no }
}

func TestNodeOPCUARunsALine(t *testing.T) {
	srv := timed(t, "node-opcua", func() *OPCUAServer { return NodeOPCUA(t, OPCUAOptions{Rate: 40}) })
	s, err := connect(t, srv, "plantloom", "plantloom")
	if err != nil {
		t.Fatal(err)
	}
	if ok, errNo := s.load("", 50, 0.5); ok || errNo != 1 {
		t.Errorf("no order number: %v, error %d", ok, errNo)
	}
	if ok, errNo := s.load("4711", 0, 0.5); ok || errNo != 4 {
		t.Errorf("no target: %v, error %d", ok, errNo)
	}
	if ok, errNo := s.load("4711", 50, 2.5); ok || errNo != 5 {
		t.Errorf("too much volume: %v, error %d", ok, errNo)
	}
	for _, no := range []string{"4711", "4711", "4712"} {
		if ok, errNo := s.load(no, 50, 0.5); !ok || errNo != 0 {
			t.Fatalf("order %s: error %d", no, errNo)
		}
	}
	if ok, errNo := s.load("4713", 50, 0.5); ok || errNo != 2 {
		t.Errorf("a third order: %v, error %d", ok, errNo)
	}
	s.write("Order.AckNo", "9999") // not the order that runs: no effect
	s.write("Order.AckNo", "4711") // too early: no effect
	first := srv.Await(20*time.Second, "the first order", done("4711"))
	s.await("Order.Done", true)
	if good, scrap := s.read("Order.Good"), s.read("Order.Scrap"); good != uint32(50) || scrap != uint32(first.Scrap) || first.Good != 50 || first.Scrap != 5 {
		t.Errorf("totals %v good, %v scrap; truth %+v", good, scrap, first)
	}
	if ok, errNo := s.load("4711", 50, 0.5); ok || errNo != 3 {
		t.Errorf("an order that is produced: %v, error %d", ok, errNo)
	}
	checkCounts(t, first, s.history("Cnt.Good"))
	s.write("Order.AckNo", "4711") // the same value once more
	srv.Await(10*time.Second, "the acknowledgement", func(t Truth) bool { return t.Event == "order_acked" && t.Order == "4711" })
	s.await("Order.No", "4712")
	s.await("State", int32(6))

	checkCap(t, s, srv)
	if got := s.write("Cnt.Good", uint16(1)); got[0] == ua.StatusOK {
		t.Error("a client can write a counter")
	}
}

// checkCounts compares the history of the rolling counter with the truth.
func checkCounts(t *testing.T, order Truth, values []*ua.DataValue) {
	t.Helper()
	prev, counted := uint16(65500), 0
	for _, v := range values {
		n := v.Value.Value().(uint16)
		if n == prev { // the start value
			continue
		}
		if n != prev+1 || !v.SourceTimestamp.After(order.From) || !v.SourceTimestamp.Before(order.At) {
			t.Errorf("counter %d after %d at %v, order from %v to %v", n, prev, v.SourceTimestamp, order.From, order.At)
		}
		prev = n
		counted++
	}
	if counted != order.Good {
		t.Errorf("history has %d counts, the truth %d", counted, order.Good)
	}
}

// checkCap acknowledges two capping results.
func checkCap(t *testing.T, s *session, srv *OPCUAServer) {
	t.Helper()
	for _, serial := range []string{"L1-000001", "L1-000002"} {
		truth := srv.Await(10*time.Second, "result "+serial, func(t Truth) bool { return t.Serial == serial })
		s.await("Cap.Serial", serial)
		got := []any{s.read("Cap.Ready"), s.read("Cap.Torque")}
		if diff := cmp.Diff([]any{true, truth.Torque}, got); diff != "" {
			t.Errorf("result %s (-want +got):\n%s", serial, diff)
		}
		s.write("Cap.AckSerial", "L1-999999")
		if s.read("Cap.Ready") != true {
			t.Error("a foreign serial acknowledges the result")
		}
		s.write("Cap.AckSerial", serial)
		s.await("Cap.Ready", false)
	}
}

func TestNodeOPCUAWantsEncryptionAndAPassword(t *testing.T) {
	srv := NodeOPCUA(t, OPCUAOptions{Password: "right", Orders: []OPCUAOrder{{No: "1", Operation: "0010", Target: 3}}})
	if _, err := connect(t, srv, "plantloom", "wrong"); !errors.Is(err, ua.StatusBadIdentityTokenRejected) && !errors.Is(err, ua.StatusBadUserAccessDenied) {
		t.Errorf("wrong password: %v", err)
	}
	plain, err := opcua.NewClient(srv.Endpoint, opcua.SecurityMode(ua.MessageSecurityModeNone), opcua.AutoReconnect(false))
	if err != nil {
		t.Fatal(err)
	}
	if err := plain.Connect(t.Context()); err == nil {
		plain.Close(t.Context())
		t.Error("a session without encryption was opened")
	}
	if got := srv.Await(10*time.Second, "the order", done("1")); got.Good != 3 {
		t.Errorf("truth %+v", got)
	}
	srv.Kill()
	timed(t, "node-opcua, start after a kill", func() int { srv.Restart(); return 0 })
	if _, err := connect(t, srv, "plantloom", "right"); err != nil {
		t.Error(err)
	}
}
