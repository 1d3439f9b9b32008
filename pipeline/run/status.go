package run

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/internal/wait"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// registry holds what each component of this process says of itself.
type registry struct {
	now func() time.Time

	mu   sync.Mutex
	all  map[string]*component
	held map[string]func() []*inboxv1.HeldEffect
}

// component is one line of the status page.
type component struct {
	r        *registry
	name     string
	kind     string
	status   pipeline.Status
	since    time.Time
	counters map[string]float64
	parts    map[string]pipeline.Status // what several reporters say of one component
}

func newRegistry(now func() time.Time) *registry {
	return &registry{now: now, all: map[string]*component{}, held: map[string]func() []*inboxv1.HeldEffect{}}
}

// component returns the component of that name, new and starting when there was none.
func (r *registry) component(kind, name string) *component {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.all[name]
	if c == nil {
		c = &component{r: r, name: name, kind: kind, since: r.now(), counters: map[string]float64{}}
		c.status.State = pipeline.Starting
		r.all[name] = c
	}
	return c
}

// holds lets the status show the effects of a sink that wait for a person.
func (r *registry) holds(name string, f func() []*inboxv1.HeldEffect) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held[name] = f
}

func (c *component) report(s pipeline.Status) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	if s.State != c.status.State {
		c.since = c.r.now()
	}
	c.status = s
}

// part returns the report of one of several reporters: the component shows the worst state and every reason.
func (c *component) part(name string) func(pipeline.Status) {
	return func(s pipeline.Status) {
		c.r.mu.Lock()
		if c.parts == nil {
			c.parts = map[string]pipeline.Status{}
		}
		c.parts[name] = s
		all := pipeline.Status{Details: map[string]string{}}
		var reasons []string
		for _, n := range slices.Sorted(maps.Keys(c.parts)) {
			p := c.parts[n]
			if all.State == "" || severity(p.State) > severity(all.State) {
				all.State = p.State
			}
			if p.Reason != "" {
				reasons = append(reasons, p.Reason)
			}
			maps.Copy(all.Details, p.Details)
		}
		all.Reason = strings.Join(reasons, "; ")
		c.r.mu.Unlock()
		c.report(all)
	}
}

// severity orders states by how much they need a person's eye.
func severity(s pipeline.ComponentState) int {
	return slices.Index([]pipeline.ComponentState{pipeline.Running, pipeline.Stopped, pipeline.Starting, pipeline.Degraded, pipeline.Down}, s)
}

func (c *component) count(name string, n float64) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.counters[name] += n
}

func (c *component) gauge(name string, v float64) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.counters[name] = v
}

// snapshot returns a report of every component, sorted by name.
func (r *registry) snapshot(instance, version string, roles []string) *inboxv1.StatusReport {
	r.mu.Lock()
	names := make([]string, 0, len(r.all))
	for n := range r.all {
		names = append(names, n)
	}
	sort.Strings(names)
	rep := &inboxv1.StatusReport{Instance: instance, Version: version, Roles: roles, ReportedAt: timestamppb.New(r.now())}
	held := map[string]func() []*inboxv1.HeldEffect{}
	for _, n := range names {
		c := r.all[n]
		rep.Components = append(rep.Components, &inboxv1.ComponentStatus{
			Name: c.name, Kind: c.kind, State: string(c.status.State), Reason: c.status.Reason,
			Since: timestamppb.New(c.since), Details: maps.Clone(c.status.Details), Counters: maps.Clone(c.counters),
		})
		held[n] = r.held[n]
	}
	r.mu.Unlock() // a sink's Held takes the sink's own lock
	for _, c := range rep.Components {
		if f := held[c.GetName()]; f != nil {
			c.Held = f()
		}
	}
	return rep
}

// publishStatus writes the report to the status topic once a second, for the serve role of whatever process.
func (p *process) publishStatus(ctx context.Context) error {
	producer := p.client.NewProducer(kafka.ProducerOptions{})
	for wait.For(ctx, time.Second) {
		v, err := proto.Marshal(p.report())
		if err != nil {
			return fmt.Errorf("encoding the status: %w", err)
		}
		rec := kafka.Record{Topic: p.client.Topic("status.v1"), Partition: -1, Key: []byte(p.instance), Value: v}
		if _, err := producer.Produce(ctx, []kafka.Record{rec}); err != nil {
			return fmt.Errorf("writing the status: %w", err)
		}
		p.reg.component("status", "status").report(pipeline.Status{State: pipeline.Running})
	}
	return nil
}

func (p *process) report() *inboxv1.StatusReport {
	return p.reg.snapshot(p.instance, p.o.Version, p.o.Roles)
}
