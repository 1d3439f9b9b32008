// Package engine is the mapping engine: a pure function of (state, inbox record) to (state, events, commands).
//
// It has no clock, no input or output, no goroutine and no randomness: the same log gives the same events with the
// same ids, bit by bit, on every machine. Package mapping makes its Spec of files; the step of pipeline/step runs it
// over an asset's inbox. It imports pipeline, the generated protos, internal/unit and mapping/formula only.
package engine
