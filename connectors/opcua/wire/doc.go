// Package wire is the client's half of OPC UA's binary transport: a secure channel over TCP, and the decoding of the
// answers that carry values.
//
// It exists because a connector that runs for years must survive what a server sends. Every length, count, depth and
// sequence number is checked, a panic in a decoder ends the channel and not the process, limits on what is received
// are our own, and dates that do not fit are clamped and flagged. Cryptography and the encoding of requests are
// gopcua's (uapolicy, ua).
//
// It never reconnects, knows no session and no subscription, and checks no certificate: that is for its caller,
// connectors/opcua, which alone may import it.
package wire
