// Package pipelinetest holds the conformance suites that every source, sink and
// outlet passes, and the fakes that they and other tests use.
//
// A connector's test describes its test double in a fixture and calls Source, Sink
// or Outlet. What a connector cannot do is declared in the fixture, and the suite
// checks the declaration where it can: a source without device time must stamp its
// samples itself, a sink that is declared to have no look-up must not have one.
// The suites watch for leaked goroutines, so their callers must not be parallel.
//
// It is for tests only: nothing that ships may import it. It imports the vocabulary
// and knows no connector.
package pipelinetest
