package uaserver

import (
	"time"

	"github.com/gopcua/opcua/ua"
)

// Fault is what a test wants to go wrong with one service call or one
// notification message. The zero Fault changes nothing.
type Fault struct {
	// Status answers the call with a ServiceFault instead of executing it.
	Status ua.StatusCode
	// ItemStatus answers every item of the call with this code instead of
	// executing it: TransferSubscriptions, CreateMonitoredItems, Write and
	// HistoryRead.
	ItemStatus ua.StatusCode
	// Drop executes the call and then sends no answer.
	Drop bool
	// Delay holds the answer back; later answers may overtake it.
	Delay time.Duration

	// The following apply to the service name "Notification", which is asked
	// once for every message with notifications that is about to be published.

	// Withhold keeps the message in the retransmission queue but does not send
	// it: the client sees a gap that Republish fills.
	Withhold bool
	// Lose throws the message away: a gap that nothing fills.
	Lose bool
	// StatusChange ends the subscription with this code.
	StatusChange ua.StatusCode
}

// Inject installs f, which is asked before each service call with the
// service's name ("Read", "Publish", "TransferSubscriptions", ... and
// "Notification") and how often that service was called since the server
// began, counted from 1. A nil Fault means none. f runs on the server's
// goroutines, partly under its lock: it must be quick and must not call the
// server. A nil f removes the injection.
func (s *Server) Inject(f func(service string, n int) *Fault) {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	s.inject = f
}

// fault asks the injected function.
func (s *Server) fault(service string) Fault {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	s.calls[service]++
	if s.inject == nil {
		return Fault{}
	}
	if f := s.inject(service, s.calls[service]); f != nil {
		return *f
	}
	return Fault{}
}

// Calls returns how often a service was called since the server began.
func (s *Server) Calls(service string) int {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	return s.calls[service]
}

// DropConnections cuts every client connection with a TCP reset. Sessions and
// subscriptions live on until they time out.
func (s *Server) DropConnections() { s.gate.drop() }

// Freeze stops (true) or resumes (false) the flow of bytes in both directions
// while connections stay open: the half-open link.
func (s *Server) Freeze(on bool) { s.gate.setFrozen(on) }

// Refuse makes the server reset every new connection at once.
func (s *Server) Refuse(on bool) { s.gate.setRefuse(on) }
