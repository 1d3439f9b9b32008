// Package line is the model of one bottling line of the DEMO plant: a PLC with
// PackML states, rolling counters, an order block, a download handshake and a
// capping station.
//
// It is a pure state machine: time comes in with every call, chance comes from
// a seeded generator that is part of the state, and every change goes out as a
// value. It never reads a clock, does no I/O and starts no goroutine. Only the
// demo plant imports it.
package line
