// Package opcua reads tags from an OPC UA server and writes to it.
//
// It keeps its own session and subscription on the low-level packages of gopcua, so that an acknowledgement reaches
// the server only after the samples are durable, and so that nothing is lost or repeated over a cut connection, an
// expired session, a deleted subscription, a blocked outlet or a crash of ours: what the server still has is asked for
// again by its sequence number, what it has lost is read from its history, and where it has none a sample says so.
//
// It never uses opcua.Client, never falls back to an unsecured connection, never trusts a certificate by itself and
// never writes a tag that is not marked writable. connectors.All is the only importer.
package opcua
