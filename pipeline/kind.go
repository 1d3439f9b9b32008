package pipeline

import (
	"fmt"
	"log/slog"
	"time"
)

// Kind is one kind of connector: its name in `kind:`, its configuration and how to build it.
// connectors.All lists every kind; there is no registration.
type Kind struct {
	name   string
	config func() any
	source func(any, Host) (Source, error)
	sink   func(any, Host) (Sink, error)
}

// NewKind makes a kind. def holds the defaults of its configuration, a struct with `conf` tags whose field comments
// are the documentation. src or snk is nil when the kind has none.
func NewKind[C any](name string, def C, src func(C, Host) (Source, error), snk func(C, Host) (Sink, error)) Kind {
	k := Kind{name: name, config: func() any { c := def; return &c }}
	if src != nil {
		k.source = func(c any, h Host) (Source, error) { return src(*c.(*C), h) }
	}
	if snk != nil {
		k.sink = func(c any, h Host) (Sink, error) { return snk(*c.(*C), h) }
	}
	return k
}

// Name is what `kind:` says.
func (k Kind) Name() string { return k.name }

// Config returns a pointer to a new configuration with the defaults, for decoding into.
func (k Kind) Config() any { return k.config() }

// HasSource reports whether the kind can be a source.
func (k Kind) HasSource() bool { return k.source != nil }

// HasSink reports whether the kind can be a sink.
func (k Kind) HasSink() bool { return k.sink != nil }

// Source builds a source from a configuration that Config returned. It does not connect.
func (k Kind) Source(config any, h Host) (Source, error) {
	if k.source == nil {
		return nil, fmt.Errorf("kind %s is not a source", k.name)
	}
	return k.source(config, h)
}

// Sink builds a sink from a configuration that Config returned. It does not connect.
func (k Kind) Sink(config any, h Host) (Sink, error) {
	if k.sink == nil {
		return nil, fmt.Errorf("kind %s is not a sink", k.name)
	}
	return k.sink(config, h)
}

// Host is what the runtime hands to a connector. Every field is set.
type Host struct {
	ID       string // the name under sources: or sinks:
	Log      *slog.Logger
	Now      func() time.Time
	Dir      string // directory of the configuration; relative file names start here
	StateDir string // a directory of the connector's own, exists
	Tags     []Tag  // the source's tag list
	Report   func(Status)
	Count    func(name string, n float64) // adds to a counter: snake_case, a bounded set of names per kind
	Gauge    func(name string, v float64) // sets a gauge
}

// Status is what a component says of itself, shown to people with its reason.
type Status struct {
	State   ComponentState
	Reason  string            // what is wrong and what to do; empty when running
	Details map[string]string // few, for example endpoint, security policy
}

// ComponentState is the state of a component.
type ComponentState string

// The states of a component.
const (
	Starting ComponentState = "starting"
	Running  ComponentState = "running"
	Degraded ComponentState = "degraded" // works, but a person should look
	Down     ComponentState = "down"     // retries by itself; the reason says why
	Stopped  ComponentState = "stopped"
)
