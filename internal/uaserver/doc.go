// Package uaserver is an OPC UA server for the demonstration plant and for the
// tests of the OPC UA source: variables with the owner's source times, data
// change subscriptions with retransmission and transfer, and raw history, as
// OPC UA Part 4 describes them, plus faults that a test can inject.
//
// It stands on gopcua's server package, which opens secure channels and knows
// the standard nodes. Every service that touches a session is answered by this
// package's own handlers. With Options.Lean it stands on gopcua's secure
// channels alone, which starts faster.
//
// It never trusts or rejects a client's application certificate (any is
// accepted), knows no events, methods or alarms, and is no product: only the
// demo programs under examples/ and tests may import it. It is never linked
// into plantloom.
package uaserver
