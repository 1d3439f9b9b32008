// Package mapper runs the mapping engine over an asset inbox: it is the step.Machine that decodes inbox records,
// switches mapping versions where the log says so (R14), and turns what the engine gives into records.
//
// It holds no state of its own beside the engine's. pipeline/run starts one per inbox partition.
package mapper

import (
	"fmt"
	"log/slog"

	"google.golang.org/protobuf/proto"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/mapping"
	"github.com/plantloom/plantloom/mapping/engine"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/inbox"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// Options say what the mapper runs.
type Options struct {
	Client *kafka.Client
	Config engine.Config // Digest is set per version
	// Current is the set of the configuration directory.
	Current *mapping.Set
	// Kept returns the set of an older digest from mapping.v1.
	Kept  func(digest string) (*mapping.Set, error)
	Log   *slog.Logger
	Count func(name string, n float64)
}

// Mapper is the machine of one inbox partition.
type Mapper struct {
	o      Options
	set    *mapping.Set
	engine *engine.Engine
	out    engine.Effects
}

// New returns a mapper; Restore must be called before Apply.
func New(o Options) *Mapper { return &Mapper{o: o} }

// Digest implements step.Machine.
func (m *Mapper) Digest() string { return m.set.Digest }

// Delta implements step.Machine.
func (m *Mapper) Delta() []byte { return m.engine.Delta() }

// Snapshot implements step.Machine.
func (m *Mapper) Snapshot() []byte { return m.engine.Snapshot() }

// Restore implements step.Machine: a restart runs the marker's version until the log says otherwise (R14).
func (m *Mapper) Restore(digest string, snapshot []byte, deltas [][]byte) error {
	set := m.o.Current
	if digest != "" && digest != set.Digest {
		kept, err := m.o.Kept(digest)
		if err != nil {
			return fmt.Errorf("reading mapping version %.12s: %w", digest, err)
		}
		set = kept
	}
	if err := m.use(set); err != nil {
		return err
	}
	if err := m.engine.Restore(snapshot, deltas...); err != nil {
		return fmt.Errorf("restoring the engine: %w", err)
	}
	return nil
}

func (m *Mapper) use(set *mapping.Set) error {
	c := m.o.Config
	c.Digest = set.Digest
	e, err := engine.New(c, set.Bound)
	if err != nil {
		return fmt.Errorf("preparing the engine: %w", err)
	}
	m.set, m.engine = set, e
	return nil
}

// activate switches to another version and carries over every cell that the new version still has.
func (m *Mapper) activate(digest string) error {
	if digest == m.set.Digest {
		return nil
	}
	set := m.o.Current
	if digest != set.Digest {
		kept, err := m.o.Kept(digest)
		if err != nil {
			return fmt.Errorf("reading mapping version %.12s: %w", digest, err)
		}
		set = kept
	}
	state := m.engine.Snapshot()
	if err := m.use(set); err != nil {
		return err
	}
	m.o.Log.Info("mapping version switched", "digest", digest)
	return m.engine.Restore(state)
}

// Apply implements step.Machine.
func (m *Mapper) Apply(r kafka.Record) ([]kafka.Record, error) {
	var rec inboxv1.InboxRecord
	if err := proto.Unmarshal(r.Value, &rec); err != nil {
		return m.unreadable(r, err), nil
	}
	if a := rec.GetMappingActivated(); a != nil {
		return nil, m.activate(a.GetDigest())
	}
	m.out.Reset()
	m.engine.Apply(engine.Cause{Record: &rec, Key: string(r.Key), Partition: r.Partition, Offset: r.Offset, At: r.Time}, &m.out)
	return m.records(r)
}

func (m *Mapper) unreadable(r kafka.Record, err error) []kafka.Record {
	m.o.Count("records_unreadable", 1)
	return []kafka.Record{m.o.Client.DeadLetterRecord("map", pipeline.DeadLetter{
		Stage: "map", Code: "RECORD_UNREADABLE", Reason: fmt.Sprintf("the inbox record cannot be decoded: %v", err),
		Key: string(r.Key), Body: r.Value, ContentType: "application/x-protobuf",
	}, kafka.CauseOf(r))}
}

func (m *Mapper) records(r kafka.Record) ([]kafka.Record, error) {
	var recs []kafka.Record
	for i := range m.out.Events {
		e := &m.out.Events[i]
		recs = append(recs, m.o.Client.EventRecord(e.Event, "/"+e.Asset+"/"+e.Mapping))
	}
	for _, c := range m.out.Commands {
		v, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
		if err != nil {
			return nil, fmt.Errorf("encoding command %s: %w", c.GetCommandId(), err)
		}
		recs = append(recs, kafka.Record{Topic: m.o.Client.Topic("command.v1"), Partition: -1, Key: []byte(c.GetSourceId()), Value: v})
	}
	for _, d := range m.out.Dead {
		recs = append(recs, m.o.Client.DeadLetterRecord("map", d, kafka.CauseOf(r)))
	}
	if len(m.out.Late) > 0 {
		v, err := proto.Marshal(inbox.Encode("late", pipeline.Batch{}, m.out.Late, func(string) inbox.Meta { return inbox.Meta{Asset: string(r.Key)} }))
		if err != nil {
			return nil, fmt.Errorf("encoding late samples: %w", err)
		}
		recs = append(recs, kafka.Record{Topic: m.o.Client.Topic("late.v1"), Partition: -1, Key: r.Key, Value: v})
	}
	m.o.Count("events", float64(len(m.out.Events)))
	m.o.Count("commands", float64(len(m.out.Commands)))
	m.o.Count("dead_letters", float64(len(m.out.Dead)))
	m.o.Count("late_samples", float64(len(m.out.Late)))
	m.o.Count("repeats", float64(m.out.Repeats))
	return recs, nil
}
