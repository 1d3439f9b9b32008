// Package step runs a pure function over one partition of a topic, so that outputs, state and input position move
// together (R5) and only one owner can move them (R6).
//
// It never looks into records. The mapping engine and the dispatcher run in it; pipeline/run starts one Run per
// partition.
package step

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/internal/wait"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// Machine is a function (state, record) -> (state, outputs). It is used by one goroutine.
type Machine interface {
	// Apply takes the next record and returns what it gives; records that go out are in the order of their causes.
	// An error stops the task: it means that this process cannot go on, not that the record is bad.
	Apply(r kafka.Record) ([]kafka.Record, error)
	// Delta returns the state that changed since the last Delta, Snapshot or Restore.
	Delta() []byte
	// Snapshot returns the whole state.
	Snapshot() []byte
	// Restore sets the state. digest is what Digest returned when the newest delta was taken, "" at the first start.
	Restore(digest string, snapshot []byte, deltas [][]byte) error
	// Digest names the version of the function, kept in every marker.
	Digest() string
}

// Options say over what a Machine runs.
type Options struct {
	Task      string // "map" or "dispatch"; with the partition the transactional id
	Input     string // topic
	State     string // topic, with as many partitions as Input
	Partition int32
	Client    *kafka.Client
	Log       *slog.Logger
	Gauge     func(name string, v float64)
	// Restored is called once, after the state is there and before the first record; it may append to the input.
	Restored func(ctx context.Context) error
	// SnapshotEvery is the number of steps between snapshots, default 256.
	SnapshotEvery uint64
	// QuietFor bounds how long records that gave no output wait for their step, default 1 s. They are applied at once;
	// only the marker lags, so that quiet tags and heartbeats do not cost a commit each. After a crash they are applied
	// again, with the same result.
	QuietFor time.Duration
	// Every is the least time between two commits, default 25 ms: under load a step covers more records and costs less,
	// and a record waits no longer than that.
	Every time.Duration
	Now   func() time.Time
}

// keepSnapshots is how many snapshots stay behind (R5 asks for three at least).
const keepSnapshots = 3

// maxCells bounds the cells in one state record, below Kafka's 1 MB.
const maxCells = 800 << 10

type task struct {
	o         Options
	m         Machine
	txn       *kafka.Txn
	step      uint64
	next      int64   // input offset
	snapshots []int64 // offsets of the newest snapshots, oldest first
	fetcher   *kafka.Fetcher
	last      time.Time // record time of the newest applied record
	pending   bool      // records are applied that no marker covers
	committed time.Time
}

// Run runs m until ctx ends (nil) or another owner takes the partition (kafka.ErrFenced).
func Run(ctx context.Context, m Machine, o Options) error {
	if o.SnapshotEvery == 0 {
		o.SnapshotEvery = 256
	}
	if o.QuietFor == 0 {
		o.QuietFor = time.Second
	}
	if o.Every == 0 {
		o.Every = 25 * time.Millisecond
	}
	t := &task{o: o, m: m}
	if err := t.open(ctx); err != nil {
		return ended(ctx, fmt.Errorf("starting %s/%d: %w", o.Task, o.Partition, err))
	}
	if o.Restored != nil {
		if err := o.Restored(ctx); err != nil {
			return ended(ctx, fmt.Errorf("starting %s/%d: %w", o.Task, o.Partition, err))
		}
	}
	t.fetcher = o.Client.NewFetcher(o.Input, o.Partition, t.next, kafka.FetchOptions{})
	for ctx.Err() == nil {
		if err := t.once(ctx); err != nil {
			return ended(ctx, fmt.Errorf("running %s/%d: %w", o.Task, o.Partition, err))
		}
	}
	return nil
}

// open fences older owners first and reads the state only then (R6).
func (t *task) open(ctx context.Context) error {
	txn, err := t.o.Client.OpenTxn(ctx, t.o.Client.Topic(fmt.Sprintf("%s.%d", t.o.Task, t.o.Partition)))
	if err != nil {
		return err
	}
	t.txn = txn
	return t.restore(ctx)
}

// once applies what there is, and commits a step when there is output or the marker has lagged long enough.
func (t *task) once(ctx context.Context) error {
	if !wait.For(ctx, t.o.Every-t.o.Now().Sub(t.committed)) {
		return ctx.Err()
	}
	recs, err := t.fetcher.Fetch(ctx)
	if err != nil {
		return fmt.Errorf("reading the input: %w", err)
	}
	var out []kafka.Record
	for _, r := range recs {
		o, err := t.m.Apply(r)
		if err != nil {
			return fmt.Errorf("applying offset %d: %w", r.Offset, err)
		}
		out = append(out, o...)
		t.next, t.last, t.pending = r.Offset+1, r.Time, true
	}
	if !t.pending || len(out) == 0 && t.o.Now().Sub(t.committed) < t.o.QuietFor {
		return nil
	}
	t.step++
	if err := t.commit(ctx, out, t.last); err != nil {
		return err
	}
	t.pending, t.committed = false, t.o.Now()
	t.o.Gauge("input_offset", float64(t.next))
	t.o.Gauge("input_time_seconds", float64(t.last.UnixMilli())/1000)
	return nil
}

func (t *task) commit(ctx context.Context, out []kafka.Record, at time.Time) error {
	snapshot := len(t.snapshots) == 0 || t.step%t.o.SnapshotEvery == 0
	var cells []byte
	if snapshot {
		cells = t.m.Snapshot()
	} else {
		cells = t.m.Delta()
	}
	var end int64
	if snapshot {
		_, e, err := t.o.Client.Offsets(ctx, t.o.State, t.o.Partition)
		if err != nil {
			return fmt.Errorf("reading the end of the state: %w", err)
		}
		end = e
	}
	marker, err := t.marker(cells, snapshot, at)
	if err != nil {
		return err
	}
	if err := t.txn.Step(ctx, out, marker); err != nil {
		return fmt.Errorf("committing a step: %w", err)
	}
	if snapshot {
		return t.trim(ctx, end)
	}
	return nil
}

// marker makes the step's state records; their keys differ, so that compaction never removes a delta.
func (t *task) marker(cells []byte, snapshot bool, at time.Time) ([]kafka.Record, error) {
	parts := max(1, (len(cells)+maxCells-1)/maxCells)
	recs := make([]kafka.Record, 0, parts)
	for i := range parts {
		chunk := cells[i*maxCells : min(len(cells), (i+1)*maxCells)]
		v, err := proto.MarshalOptions{Deterministic: true}.Marshal(&inboxv1.StepMarker{
			Task: t.o.Task, Partition: t.o.Partition, InputOffset: t.next, MappingDigest: t.m.Digest(), Delta: chunk,
			Snapshot: snapshot, Step: t.step, RecordedAt: timestamppb.New(at), Part: uint32(i), Parts: uint32(parts),
		})
		if err != nil {
			return nil, fmt.Errorf("encoding a marker: %w", err)
		}
		key := fmt.Sprintf("%s/%d/%d/%d", t.o.Task, t.o.Partition, t.step, i)
		recs = append(recs, kafka.Record{Topic: t.o.State, Partition: t.o.Partition, Key: []byte(key), Value: v})
	}
	return recs, nil
}

// trim deletes the state before the oldest snapshot that is kept (R9). at is at or before the new snapshot.
func (t *task) trim(ctx context.Context, at int64) error {
	t.snapshots = append(t.snapshots, at)
	if len(t.snapshots) <= keepSnapshots {
		return nil
	}
	t.snapshots = t.snapshots[len(t.snapshots)-keepSnapshots:]
	if err := t.o.Client.DeleteRecords(ctx, t.o.State, t.o.Partition, t.snapshots[0]); err != nil {
		// Untrimmed state costs disk and start-up time only, so the task goes on.
		t.o.Log.Warn("old state could not be deleted; it takes disk until the next snapshot", "task", t.o.Task, "partition", t.o.Partition, "err", err)
	}
	return nil
}

// ended turns an error that the end of ctx caused into nil.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(err, kafka.ErrFenced) {
		return nil
	}
	return err
}
