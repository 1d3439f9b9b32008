// Package formula reads, checks and lowers the formulas of mappings.
//
// The language is expr-lang/expr's: its parser reads, and nothing else of it runs. Our checker knows types, units and
// what a plant needs (null propagates, and/or are three-valued, division by zero is null and bad, integer overflow is
// never a wrap, 64 bit integers are exact), reports every fault at its column, and lowers a formula to typed Go
// closures over a Frame. It has no clock, no input or output, no goroutine, no randomness and no unbounded loop.
// Package mapping/engine imports it.
package formula
