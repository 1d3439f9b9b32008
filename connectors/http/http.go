// Package http is the connector for business systems with a JSON API over HTTP:
// a sink that posts events and a source that polls released orders. What is
// sent and read is declared in the configuration by formulas, so one connector
// serves many peers.
//
// A request that may have had an effect is sent once and never again by this
// package: no retry, no redirect, no replay by the transport. Whether it may
// be sent again is the lane's decision (R1). It contacts the configured host
// only, keeps no state on disk and reads no clock but the one it is given.
//
// It imports pipeline, internal/conf, gen and the formula language; only
// connectors imports it.
package http

import (
	"errors"

	"github.com/plantloom/plantloom/pipeline"
)

// Name is what `kind:` says in a plant file.
const Name = "http"

// Kind returns the kind http, a source and a sink.
func Kind() pipeline.Kind {
	return pipeline.NewKind(Name, Defaults(), newSource, newSink)
}

func newSink(c Config, h pipeline.Host) (pipeline.Sink, error) {
	if len(c.Routes) == 0 {
		return nil, errors.New("a sink of kind http needs routes: a list that says which events it posts where")
	}
	if c.Orders != nil {
		return nil, errors.New("a sink of kind http takes no orders: put them under sources:")
	}
	client, err := newClient(c, h)
	if err != nil {
		return nil, err
	}
	s := &sink{client: client, config: c, host: h}
	for _, r := range c.Routes {
		if r.Lookup != nil {
			return &lookupSink{s}, nil
		}
	}
	return s, nil
}

func newSource(c Config, h pipeline.Host) (pipeline.Source, error) {
	if c.Orders == nil {
		return nil, errors.New("a source of kind http needs orders: where to poll and how to read them")
	}
	if len(c.Routes) > 0 {
		return nil, errors.New("a source of kind http takes no routes: put them under sinks:")
	}
	client, err := newClient(c, h)
	if err != nil {
		return nil, err
	}
	return &source{client: client, orders: c.Orders, host: h}, nil
}
