package step

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// sum is a machine that adds what it reads and writes the sum after each record.
type sum struct {
	client  *kafka.Client
	total   uint64
	digests []string
	stop    func(total uint64)
}

func (s *sum) Apply(r kafka.Record) ([]kafka.Record, error) {
	s.total += binary.BigEndian.Uint64(r.Value)
	if s.stop != nil {
		s.stop(s.total)
	}
	return []kafka.Record{{Topic: s.client.Topic("event.production.v1"), Partition: 0, Key: []byte("sum"), Value: []byte(fmt.Sprint(s.total))}}, nil
}
func (s *sum) Delta() []byte    { return binary.BigEndian.AppendUint64(nil, s.total) }
func (s *sum) Snapshot() []byte { return s.Delta() }
func (s *sum) Digest() string   { return "sum/1" }
func (s *sum) Restore(digest string, snapshot []byte, deltas [][]byte) error {
	s.digests = append(s.digests, digest)
	s.total = 0
	for _, b := range append([][]byte{snapshot}, deltas...) {
		if len(b) == 8 {
			s.total = binary.BigEndian.Uint64(b)
		}
	}
	return nil
}

func newClient(t *testing.T, embedded bool) *kafka.Client {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	c, err := kafka.Open(kafka.Config{Brokers: cluster.ListenAddrs(), Namespace: "t", Partitions: 1, Embedded: embedded, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.EnsureTopics(t.Context(), kafka.Topics("t", 1, nil)); err != nil {
		t.Fatal(err)
	}
	return c
}

func put(t *testing.T, c *kafka.Client, numbers ...uint64) {
	t.Helper()
	var recs []kafka.Record
	for _, n := range numbers {
		recs = append(recs, kafka.Record{Topic: c.Topic("inbox.v1"), Partition: 0, Value: binary.BigEndian.AppendUint64(nil, n)})
	}
	if _, err := c.NewProducer(kafka.ProducerOptions{}).Produce(t.Context(), recs); err != nil {
		t.Fatal(err)
	}
}

func options(c *kafka.Client) Options {
	return Options{
		Task: "map", Input: c.Topic("inbox.v1"), State: c.Topic("state.v1"), Client: c, Log: slog.New(slog.DiscardHandler),
		Gauge: func(string, float64) {}, SnapshotEvery: 2, Now: time.Now,
	}
}

// runUntil runs a fresh machine until its total reaches want.
func runUntil(t *testing.T, c *kafka.Client, want uint64) *sum {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	m := &sum{client: c}
	done := make(chan error, 1)
	o := options(c)
	o.Gauge = func(name string, v float64) {
		if name == "input_offset" && m.total >= want {
			cancel() // the step is committed
		}
	}
	go func() { done <- Run(ctx, m, o) }()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if m.total != want {
		t.Fatalf("total %d, want %d", m.total, want)
	}
	return m
}

func outputs(t *testing.T, c *kafka.Client) []string {
	t.Helper()
	var out []string
	if _, err := c.ReadAll(t.Context(), c.Topic("event.production.v1"), 0, 0, func(r kafka.Record) error {
		out = append(out, string(r.Value))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// R5: outputs, state and position move together, whatever was restarted in between.
func TestARestartGoesOnAfterTheLastCommittedStep(t *testing.T) {
	t.Parallel()
	for _, embedded := range []bool{true, false} {
		t.Run(fmt.Sprintf("embedded %v", embedded), func(t *testing.T) {
			t.Parallel()
			c := newClient(t, embedded)
			total := uint64(0)
			for i := range uint64(9) {
				put(t, c, i, 1)
				total += i + 1
				m := runUntil(t, c, total)
				if i > 0 && m.digests[0] != "sum/1" {
					t.Fatalf("restored with digest %q", m.digests[0])
				}
			}
			want := []string{"0", "1", "2", "3", "5", "6", "9", "10", "14", "15", "20", "21", "27", "28", "35", "36", "44", "45"}
			if diff := cmp.Diff(want, outputs(t, c)); diff != "" {
				t.Errorf("outputs (-want +got):\n%s", diff)
			}
			start, end, err := c.Offsets(t.Context(), c.Topic("state.v1"), 0)
			if err != nil {
				t.Fatal(err)
			}
			if start == 0 || end-start > 20 { // R9: only what the newest snapshots need stays
				t.Errorf("state from %d to %d was not trimmed", start, end)
			}
		})
	}
}

// R6: who comes later owns the partition; the older owner cannot commit any more.
func TestANewOwnerFencesTheOldOne(t *testing.T) {
	t.Parallel()
	c := newClient(t, true)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	old := make(chan error, 1)
	started := make(chan struct{})
	o := options(c)
	o.Restored = func(context.Context) error { close(started); return nil }
	go func() { old <- Run(ctx, &sum{client: c}, o) }()
	<-started
	put(t, c, 1)
	var txn *kafka.Txn
	txn, err := c.OpenTxn(ctx, "t.map.0")
	if err != nil {
		t.Fatal(err)
	}
	put(t, c, 1)
	select {
	case err := <-old:
		if !errors.Is(err, kafka.ErrFenced) {
			t.Fatalf("the old owner ended with %v, want ErrFenced", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the old owner goes on")
	}
	if _, err := txn.Commit(ctx, []kafka.Record{{Topic: c.Topic("state.v1"), Partition: 0, Value: []byte{}}}); err != nil {
		t.Fatalf("the new owner cannot commit: %v", err)
	}
}

func TestStateBeyondTheInputIsRolledBack(t *testing.T) {
	t.Parallel()
	mk := func(step uint64, in int64, snapshot bool) mark {
		return mark{m: &inboxv1.StepMarker{Step: step, InputOffset: in, Snapshot: snapshot}, offset: int64(step)}
	}
	steps := func(marks []mark) (out []uint64) {
		for _, k := range marks {
			out = append(out, k.m.GetStep())
		}
		return out
	}
	for name, tc := range map[string]struct {
		marks []mark
		end   int64
		want  []uint64
		lost  int
	}{
		"everything is covered":                    {[]mark{mk(1, 5, true), mk(2, 8, false)}, 8, []uint64{1, 2}, 0},
		"the newest step is beyond the input":      {[]mark{mk(1, 5, true), mk(2, 8, false)}, 7, []uint64{1}, 1},
		"deltas before the first snapshot":         {[]mark{mk(1, 5, false), mk(2, 8, true), mk(3, 9, false)}, 9, []uint64{2, 3}, 0},
		"a step done again replaces lost ones":     {[]mark{mk(1, 5, true), mk(2, 9, false), mk(3, 12, false), mk(2, 7, false)}, 12, []uint64{1, 2}, 0},
		"nothing is covered: start from the front": {[]mark{mk(1, 5, true)}, 0, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, lost := covered(tc.marks, tc.end)
			if diff := cmp.Diff(tc.want, steps(got)); diff != "" || lost != tc.lost {
				t.Errorf("lost %d, want %d; steps (-want +got):\n%s", lost, tc.lost, diff)
			}
		})
	}
}

func TestPartsOfOneStepCountOnlyTogether(t *testing.T) {
	t.Parallel()
	c := newClient(t, true)
	tk := &task{o: options(c), m: &sum{}, step: 7}
	recs, err := tk.marker(make([]byte, 2*maxCells+5), true, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	if len(recs) != 3 {
		t.Fatalf("%d parts, want 3", len(recs))
	}
	var col collector
	for i, r := range append(recs[:2:2], recs...) { // an interrupted attempt, then a whole one
		r.Offset = int64(i)
		if err := col.add(r); err != nil {
			t.Fatal(err)
		}
	}
	if len(col.marks) != 1 || len(col.marks[0].cells) != 2*maxCells+5 || col.marks[0].offset != 2 {
		t.Fatalf("%d complete steps, want the second attempt only", len(col.marks))
	}
}
