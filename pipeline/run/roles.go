package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/mapping"
	"github.com/plantloom/plantloom/mapping/engine"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/collect"
	"github.com/plantloom/plantloom/pipeline/dispatch"
	"github.com/plantloom/plantloom/pipeline/kafka"
	"github.com/plantloom/plantloom/pipeline/lane"
	"github.com/plantloom/plantloom/pipeline/mapper"
	"github.com/plantloom/plantloom/pipeline/step"
)

// startRoles starts the components of this process's roles in g.
func (p *process) startRoles(ctx context.Context, g *errgroup.Group) error {
	if slices.Contains(p.o.Roles, "collect") {
		for _, e := range p.o.Plant.Sources {
			if err := p.startSource(ctx, g, e); err != nil {
				return err
			}
		}
	}
	if slices.Contains(p.o.Roles, "map") {
		g.Go(func() error {
			return p.keep(ctx, p.reg.component("map", "map"), p.runMap)
		})
	}
	if slices.Contains(p.o.Roles, "deliver") {
		for _, e := range p.o.Plant.Sinks {
			if err := p.startSink(ctx, g, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *process) host(e Endpoint, role string, c *component) (pipeline.Host, error) {
	dir := filepath.Join(p.o.Plant.File.StateDir, role, e.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return pipeline.Host{}, fmt.Errorf("making the state directory of %s: %w", e.Name, err)
	}
	return pipeline.Host{
		ID: e.Name, Log: p.o.Log.With("connector", e.Name), Now: p.o.Now, Dir: p.o.Plant.Dir, StateDir: dir,
		Tags: e.Tags, Report: c.report, Count: c.count, Gauge: c.gauge,
	}, nil
}

func (p *process) startSource(ctx context.Context, g *errgroup.Group, e Endpoint) error {
	c := p.reg.component("source", "source/"+e.Name)
	h, err := p.host(e, "collect", c)
	if err != nil {
		return err
	}
	src, err := e.Kind.Source(e.Config, h)
	if err != nil {
		return fmt.Errorf("building source %s: %w", e.Name, err)
	}
	g.Go(func() error {
		return p.keep(ctx, c, func(ctx context.Context) error {
			return collect.Run(ctx, src, collect.Options{
				ID: e.Name, Tags: e.Tags, Client: p.client, Partitions: p.o.Plant.File.Kafka.Partitions, Log: h.Log, Now: p.o.Now,
				Report: c.report, Count: c.count, UnsafeCursorFirst: p.o.Unsafe,
			})
		})
	})
	return nil
}

func (p *process) startSink(ctx context.Context, g *errgroup.Group, e Endpoint) error {
	c := p.reg.component("sink", "sink/"+e.Name)
	h, err := p.host(e, "deliver", c)
	if err != nil {
		return err
	}
	h.Report = c.part("connector")
	sink, err := e.Kind.Sink(e.Config, h)
	if err != nil {
		return fmt.Errorf("building sink %s: %w", e.Name, err)
	}
	g.Go(func() error {
		return p.keep(ctx, c, func(ctx context.Context) error {
			return lane.Run(ctx, sink, lane.Options{
				Sink: e.Name, Events: e.Events, Client: p.client, Log: h.Log, Now: p.o.Now, Report: c.part("lanes"), Count: c.count,
				Naive: p.o.Unsafe, Held: func(f func() []*inboxv1.HeldEffect) { p.reg.holds("sink/"+e.Name, f) },
			})
		})
	})
	return nil
}

// runMap runs the engine and the dispatcher over every partition.
func (p *process) runMap(ctx context.Context) error {
	kept := &keptSets{p: p, sets: map[string]*mapping.Set{}}
	if err := kept.publish(ctx, p.o.Plant.Maps); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for n := range p.o.Plant.File.Kafka.Partitions {
		part := int32(n)
		mapC := p.reg.component("map", fmt.Sprintf("map/%d", part))
		g.Go(func() error {
			return p.keep(ctx, mapC, func(ctx context.Context) error { return p.runMapper(ctx, part, kept, mapC) })
		})
		disC := p.reg.component("dispatch", fmt.Sprintf("dispatch/%d", part))
		g.Go(func() error {
			return p.keep(ctx, disC, func(ctx context.Context) error { return p.runDispatcher(ctx, part, disC) })
		})
	}
	p.reg.component("map", "map").report(pipeline.Status{State: pipeline.Running})
	return g.Wait()
}

func (p *process) runMapper(ctx context.Context, part int32, kept *keptSets, c *component) error {
	m := mapper.New(mapper.Options{
		Client: p.client, Current: p.o.Plant.Maps, Kept: func(d string) (*mapping.Set, error) { return kept.get(ctx, d) },
		Config: engine.Config{Site: p.o.Plant.File.Site, Lateness: p.o.Plant.File.Lateness, UnsafeNoRepeatFilter: p.o.Unsafe},
		Log:    p.o.Log, Count: c.count,
	})
	return step.Run(ctx, m, step.Options{
		Task: "map", Input: p.client.Topic("inbox.v1"), State: p.client.Topic("state.v1"), Partition: part, Client: p.client,
		Log: p.o.Log, Now: p.o.Now, Gauge: c.gauge,
		Restored: func(ctx context.Context) error {
			if err := p.announce(ctx, part, m.Digest()); err != nil {
				return err
			}
			c.report(pipeline.Status{State: pipeline.Running})
			return nil
		},
	})
}

func (p *process) runDispatcher(ctx context.Context, part int32, c *component) error {
	d := dispatch.New(dispatch.Options{Client: p.client, Count: c.count, Route: func(wc string) (string, bool, string) {
		asset, ok := p.o.Plant.Maps.Route(wc)
		if ok {
			return asset, true, ""
		}
		return "", false, conf.Nearest(wc, p.o.Plant.Maps.WorkCenters())
	}})
	return step.Run(ctx, d, step.Options{
		Task: "dispatch", Input: p.client.Topic("order.request.v1"), State: p.client.Topic("state.dispatch.v1"), Partition: part,
		Client: p.client, Log: p.o.Log, Now: p.o.Now, Gauge: c.gauge,
		Restored: func(context.Context) error { c.report(pipeline.Status{State: pipeline.Running}); return nil },
	})
}

// announce appends to an inbox partition what its log must say before the engine goes on: the sources that bound each
// asset's time (R10), and the mapping version of this directory when the log still runs another one (R14).
func (p *process) announce(ctx context.Context, part int32, running string) error {
	topic := p.client.Topic("inbox.v1")
	var recs []kafka.Record
	add := func(key string, r *inboxv1.InboxRecord) error {
		v, err := proto.Marshal(r)
		if err != nil {
			return fmt.Errorf("encoding an announcement: %w", err)
		}
		recs = append(recs, kafka.Record{Topic: topic, Partition: part, Key: []byte(key), Value: v})
		return nil
	}
	for _, asset := range p.o.Plant.Maps.Assets() {
		if p.client.PartitionFor(topic, []byte(asset)) != part {
			continue
		}
		set := &inboxv1.SourceSet{AssetPath: asset, SourceIds: p.o.Plant.Maps.SourcesOf(asset)}
		if err := add(asset, &inboxv1.InboxRecord{Kind: &inboxv1.InboxRecord_SourceSet{SourceSet: set}}); err != nil {
			return err
		}
	}
	if digest := p.o.Plant.Maps.Digest; digest != running {
		if err := add("", &inboxv1.InboxRecord{Kind: &inboxv1.InboxRecord_MappingActivated{MappingActivated: &inboxv1.MappingActivated{Digest: digest}}}); err != nil {
			return err
		}
	}
	if len(recs) == 0 {
		return nil
	}
	if _, err := p.client.NewProducer(kafka.ProducerOptions{}).Produce(ctx, recs); err != nil {
		return fmt.Errorf("announcing the sources of partition %d: %w", part, err)
	}
	return nil
}

// keptSets reads and writes mapping.v1, where every version that a log may still name is kept (R14).
type keptSets struct {
	p    *process
	mu   sync.Mutex
	sets map[string]*mapping.Set
}

func (k *keptSets) publish(ctx context.Context, set *mapping.Set) error {
	if _, err := k.get(ctx, set.Digest); err == nil {
		return nil
	} else if !errors.Is(err, errNoSet) {
		return err
	}
	v, err := proto.MarshalOptions{Deterministic: true}.Marshal(&inboxv1.MappingSet{Digest: set.Digest, Files: set.Files})
	if err != nil {
		return fmt.Errorf("encoding the mapping set: %w", err)
	}
	rec := kafka.Record{Topic: k.p.client.Topic("mapping.v1"), Partition: -1, Key: []byte(set.Digest), Value: v}
	if _, err := k.p.client.NewProducer(kafka.ProducerOptions{}).Produce(ctx, []kafka.Record{rec}); err != nil {
		return fmt.Errorf("keeping mapping version %.12s: %w", set.Digest, err)
	}
	return nil
}

var errNoSet = errors.New("this mapping version is not in mapping.v1; restore that topic, or start with an empty state directory")

func (k *keptSets) get(ctx context.Context, digest string) (*mapping.Set, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.sets[digest]; s != nil {
		return s, nil
	}
	topic := k.p.client.Topic("mapping.v1")
	part := k.p.client.PartitionFor(topic, []byte(digest))
	start, _, err := k.p.client.Offsets(ctx, topic, part)
	if err != nil {
		return nil, fmt.Errorf("reading mapping versions: %w", err)
	}
	var found *inboxv1.MappingSet
	_, err = k.p.client.ReadAll(ctx, topic, part, start, func(r kafka.Record) error {
		if string(r.Key) != digest {
			return nil
		}
		found = &inboxv1.MappingSet{}
		return proto.Unmarshal(r.Value, found)
	})
	if err != nil {
		return nil, fmt.Errorf("reading mapping versions: %w", err)
	}
	if found == nil {
		return nil, errNoSet
	}
	var faults conf.Faults
	set := mapping.Load(mapping.FromFiles(found.GetFiles()), k.p.o.Plant.tags(), &faults)
	if err := faults.Err(); err != nil {
		return nil, fmt.Errorf("compiling mapping version %.12s again: %w", digest, err)
	}
	k.sets[digest] = set
	return set, nil
}

func (p *Plant) tags() map[string][]pipeline.Tag {
	tags := map[string][]pipeline.Tag{}
	for _, e := range p.Sources {
		tags[e.Name] = e.Tags
	}
	return tags
}
