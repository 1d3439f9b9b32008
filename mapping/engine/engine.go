package engine

import (
	"fmt"
	"maps"
	"slices"
	"time"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/inbox"
)

const (
	defaultLateness = 2 * time.Second
	defaultHorizon  = 10 * time.Minute
)

// Engine applies an inbox partition's records to the machines whose assets it sees. It is used by one goroutine.
type Engine struct {
	config  Config
	assets  map[string]*asset
	paths   []string // of assets, sorted
	store   *store
	samples []pipeline.Sample // reused
}

// New makes an engine for machines. An error says which machine does not fit its program.
func New(c Config, maps []Bound) (*Engine, error) {
	if c.Lateness == 0 {
		c.Lateness = defaultLateness
	}
	if c.RepeatHorizon == 0 {
		c.RepeatHorizon = max(c.Lateness, defaultHorizon)
	}
	e := &Engine{config: c, assets: map[string]*asset{}, store: newStore()}
	for i := range maps {
		if err := e.bind(&maps[i]); err != nil {
			return nil, err
		}
	}
	for path := range e.assets {
		e.paths = append(e.paths, path)
	}
	slices.Sort(e.paths)
	return e, nil
}

func (e *Engine) bind(b *Bound) error {
	p, def := b.Program, &b.Machine
	if p == nil {
		return fmt.Errorf("machine %s has no program", def.Name)
	}
	a := e.assets[def.Asset]
	if a == nil {
		a = newAsset(e, def.Asset)
		e.assets[def.Asset] = a
	}
	a.configured = union(a.configured, def.Sources)
	twin := false
	for _, m := range a.machines {
		if m.p.name == p.name && m.def.Name == def.Name {
			return fmt.Errorf("machine %s of mapping %s is bound twice", def.Name, p.name)
		}
		if m.p.name == p.name {
			m.identity, twin = def.Asset+"\x00"+m.def.Name, true
		}
	}
	m, err := newMachine(a, p, def)
	if err != nil {
		return fmt.Errorf("binding machine %s to mapping %s: %w", def.Name, p.name, err)
	}
	if twin {
		m.identity = def.Asset + "\x00" + def.Name
	}
	a.machines = append(a.machines, m)
	return nil
}

func union(a, b []string) []string {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

// Apply applies one record and appends what it gives to out. It never fails: what a rule cannot make becomes a dead
// letter, and the rest goes on. Equal logs give equal effects, however they are cut and wherever a restore comes.
func (e *Engine) Apply(in Cause, out *Effects) {
	defer func() {
		if why := recover(); why != nil { // rules have guards of their own; this one keeps the log moving
			out.Dead = append(out.Dead, pipeline.DeadLetter{
				Stage: "map", Code: "RECORD_PANIC", Reason: "the record was not applied: " + panicText(why), Key: in.Key,
				ContentType: "application/x-protobuf", Body: encoded(in.Record), Details: map[string]string{"digest": e.config.Digest},
			})
		}
	}()
	e.apply(in, out)
}

func (e *Engine) apply(in Cause, out *Effects) {
	switch k := in.Record.GetKind().(type) {
	case *inboxv1.InboxRecord_Tags:
		if a := e.assets[in.Key]; a != nil {
			a.batch(&in, k.Tags, out)
		}
	case *inboxv1.InboxRecord_Heartbeat:
		h := k.Heartbeat
		for _, path := range e.paths {
			if a := e.assets[path]; a.bounds(h.GetSourceId()) {
				a.promise(h.GetSourceId(), h.GetState(), h.GetWatermarkNs())
				a.advance(&in, out)
			}
		}
	case *inboxv1.InboxRecord_SourceSet:
		path := k.SourceSet.GetAssetPath()
		if path == "" {
			path = in.Key
		}
		if a := e.assets[path]; a != nil {
			a.set = slices.Clone(k.SourceSet.GetSourceIds())
			slices.Sort(a.set)
			a.mark()
			a.advance(&in, out)
		}
	case *inboxv1.InboxRecord_Operation:
		if a := e.assets[in.Key]; a != nil {
			a.operation(&in, k.Operation, out)
		}
	case *inboxv1.InboxRecord_CommandResult:
		path := k.CommandResult.GetAssetPath()
		if path == "" {
			path = in.Key
		}
		if a := e.assets[path]; a != nil {
			a.result(&in, k.CommandResult, out)
		}
	}
}

// Watermark returns the time up to which an asset's samples are decided, the zero time while there is none (R10).
func (e *Engine) Watermark(path string) time.Time {
	if a := e.assets[path]; a != nil && a.w > 0 {
		return inbox.Time(a.w)
	}
	return time.Time{}
}

// Assets returns the assets of the engine's machines, sorted.
func (e *Engine) Assets() []string { return slices.Clone(e.paths) }

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
