package uaserver

import (
	"errors"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uasc"
)

// call is one request on its way through the server.
type call struct {
	s       *Server
	name    string
	conn    *conn
	sc      *uasc.SecureChannel
	reqID   uint32
	req     ua.Request
	fault   Fault
	handler func(*call) (ua.Response, error)
}

// service is one OPC UA service and its handler.
type service struct {
	name string
	f    func(*call) (ua.Response, error)
}

// handlers lists this package's services by the type id of their requests.
func (s *Server) handlers() map[uint16]service {
	return map[uint16]service{
		id.GetEndpointsRequest_Encoding_DefaultBinary:  {"GetEndpoints", s.getEndpoints},
		id.FindServersRequest_Encoding_DefaultBinary:   {"FindServers", s.findServers},
		id.CreateSessionRequest_Encoding_DefaultBinary: {"CreateSession", s.createSession},

		id.ActivateSessionRequest_Encoding_DefaultBinary: {"ActivateSession", s.activateSession},
		id.CloseSessionRequest_Encoding_DefaultBinary:    {"CloseSession", s.closeSession},

		id.ReadRequest_Encoding_DefaultBinary:        {"Read", s.readService},
		id.WriteRequest_Encoding_DefaultBinary:       {"Write", s.writeService},
		id.HistoryReadRequest_Encoding_DefaultBinary: {"HistoryRead", s.historyRead},
		id.BrowseRequest_Encoding_DefaultBinary:      {"Browse", s.browseService},
		id.BrowseNextRequest_Encoding_DefaultBinary:  {"BrowseNext", s.browseNext},

		id.TranslateBrowsePathsToNodeIDsRequest_Encoding_DefaultBinary: {"TranslateBrowsePathsToNodeIds", s.translate},

		id.RegisterNodesRequest_Encoding_DefaultBinary:   {"RegisterNodes", s.registerNodes},
		id.UnregisterNodesRequest_Encoding_DefaultBinary: {"UnregisterNodes", s.unregisterNodes},

		id.CreateSubscriptionRequest_Encoding_DefaultBinary:    {"CreateSubscription", s.createSubscription},
		id.ModifySubscriptionRequest_Encoding_DefaultBinary:    {"ModifySubscription", s.modifySubscription},
		id.SetPublishingModeRequest_Encoding_DefaultBinary:     {"SetPublishingMode", s.setPublishingMode},
		id.DeleteSubscriptionsRequest_Encoding_DefaultBinary:   {"DeleteSubscriptions", s.deleteSubscriptions},
		id.TransferSubscriptionsRequest_Encoding_DefaultBinary: {"TransferSubscriptions", s.transferSubscriptions},
		id.PublishRequest_Encoding_DefaultBinary:               {"Publish", s.publishService},
		id.RepublishRequest_Encoding_DefaultBinary:             {"Republish", s.republish},

		id.CreateMonitoredItemsRequest_Encoding_DefaultBinary: {"CreateMonitoredItems", s.createItems},
		id.ModifyMonitoredItemsRequest_Encoding_DefaultBinary: {"ModifyMonitoredItems", s.modifyItems},
		id.DeleteMonitoredItemsRequest_Encoding_DefaultBinary: {"DeleteMonitoredItems", s.deleteItems},
		id.SetMonitoringModeRequest_Encoding_DefaultBinary:    {"SetMonitoringMode", s.setMonitoringMode},
	}
}

// registerHandlers puts this package's services in the library's place.
func (s *Server) registerHandlers() {
	for typeID, h := range s.handlers() {
		s.lib.RegisterHandler(typeID, func(sc *uasc.SecureChannel, req ua.Request, reqID uint32) (ua.Response, error) {
			s.enqueue(h, sc, req, reqID)
			return nil, nil // the answer follows from the connection's goroutines
		})
	}
}

// enqueue hands a request to its connection, which executes its requests in
// order. The caller serves all connections (the library does) or must return
// to reading, so nothing is executed here.
func (s *Server) enqueue(h service, sc *uasc.SecureChannel, req ua.Request, reqID uint32) {
	if c := s.gate.find(sc.RemoteAddr()); c != nil {
		c.calls.put(call{s: s, name: h.name, conn: c, sc: sc, reqID: reqID, req: req, handler: h.f})
	}
}

// serve executes the requests of one connection until it ends.
func (s *Server) serve(c *conn) {
	s.wg.Go(func() { c.sendAll(s) })
	for {
		cl, ok := c.calls.take()
		if !ok {
			return
		}
		cl.run()
	}
}

func (cl *call) run() {
	cl.fault = cl.s.fault(cl.name)
	var resp ua.Response
	err := error(cl.fault.Status)
	if cl.fault.Status == ua.StatusOK {
		resp, err = cl.handler(cl)
	}
	if err != nil {
		code := ua.StatusBadInternalError
		errors.As(err, &code)
		resp = &ua.ServiceFault{ResponseHeader: cl.header(code)}
	}
	if resp != nil {
		cl.answer(resp)
	}
}

// answer sends the response, or what an injected fault makes of it.
func (cl *call) answer(resp ua.Response) {
	switch {
	case cl.fault.Drop:
	case cl.fault.Delay > 0:
		time.AfterFunc(cl.fault.Delay, func() { cl.conn.sends.put(outgoing{cl.sc, cl.reqID, resp}) })
	default:
		cl.conn.sends.put(outgoing{cl.sc, cl.reqID, resp})
	}
}

// header is the response header; the library leaves the request handle out of
// faults, Part 4, 7.33 wants it.
func (cl *call) header(code ua.StatusCode) *ua.ResponseHeader {
	h := &ua.ResponseHeader{
		Timestamp: cl.s.opts.Now(), ServiceResult: code,
		ServiceDiagnostics: &ua.DiagnosticInfo{}, StringTable: []string{},
		AdditionalHeader: ua.NewExtensionObject(nil),
	}
	if req := cl.req.Header(); req != nil {
		h.RequestHandle = req.RequestHandle
	}
	return h
}

// sendAll encodes and writes the connection's responses one after the other.
func (c *conn) sendAll(s *Server) {
	for {
		o, ok := c.sends.take()
		if !ok {
			return
		}
		c.sendMu.Lock()
		err := o.sc.SendResponseWithContext(closedContext{c.closed}, o.reqID, o.resp)
		c.sendMu.Unlock()
		if err != nil {
			s.log.Debug("response not sent", "err", err)
			c.cut()
			return
		}
	}
}

// closedContext is a context that ends with the connection; it has no deadline
// and no values.
type closedContext struct{ done <-chan struct{} }

func (c closedContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (c closedContext) Done() <-chan struct{}       { return c.done }
func (c closedContext) Value(any) any               { return nil }
func (c closedContext) Err() error {
	select {
	case <-c.done:
		return errors.New("connection closed")
	default:
		return nil
	}
}
