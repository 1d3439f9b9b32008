// Package plant is the DEMO plant: lines, their journal, the truth ledger, the
// OPC UA server that shows them and the historian of the oldest line.
//
// The order that keeps it true: a change goes first to the journal (fsync),
// then to the ledger (fsync), then to OPC UA and the historian. So nobody ever
// sees what a crash could take back, and after a crash the journal alone
// brings back the state, the ledger, the history and the historian's rows.
//
// It never talks to Plantloom's own packages; only the demo program imports it.
package plant
