// Package engine is the mapping engine: a pure function of (state, inbox record) to (state, events, commands).
//
// Compile checks a Spec, which package mapping makes of its files, and lowers it to a Program. An Engine runs programs
// for machines: samples wait in the order of event time until the watermark passes them (api.go, machine.go), rules
// fire and make events and commands (fire.go, command.go), and all that it remembers is cells (store.go).
//
// It has no clock, no input or output, no goroutine and no randomness: the same log gives the same events with the
// same ids, bit by bit, on every machine. Package mapping, its tests and the step of pipeline/mapper import it; it
// imports pipeline, pipeline/inbox, the generated protos and mapping/formula only.
package engine
