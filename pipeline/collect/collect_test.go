package collect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/inbox"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

var t0 = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func newClient(t *testing.T) *kafka.Client {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	c, err := kafka.Open(kafka.Config{Brokers: cluster.ListenAddrs(), Namespace: "t", Partitions: 1, Embedded: true, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.EnsureTopics(t.Context(), kafka.Topics("t", 1, nil)); err != nil {
		t.Fatal(err)
	}
	return c
}

func options(c *kafka.Client) Options {
	return Options{
		ID: "line", Client: c, Partitions: 1, Log: slog.New(slog.DiscardHandler), Now: time.Now, Heartbeat: 20 * time.Millisecond,
		Tags:   []pipeline.Tag{{ID: "L1/a", Asset: "demo/L1", Unit: "C62"}, {ID: "L1/b", Asset: "demo/L1"}, {ID: "L2/a", Asset: "demo/L2"}},
		Report: func(pipeline.Status) {}, Count: func(string, float64) {},
	}
}

// script is a source that runs a function of each test.
type script func(ctx context.Context, cursor []byte, out pipeline.Outlet) error

func (s script) Run(ctx context.Context, cursor []byte, out pipeline.Outlet) error {
	return s(ctx, cursor, out)
}

func records(t *testing.T, c *kafka.Client, topic string) []kafka.Record {
	t.Helper()
	var out []kafka.Record
	if _, err := c.ReadAll(t.Context(), c.Topic(topic), 0, 0, func(r kafka.Record) error { out = append(out, r); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

func inboxOf(t *testing.T, c *kafka.Client) []*inboxv1.InboxRecord {
	t.Helper()
	var out []*inboxv1.InboxRecord
	for _, r := range records(t, c, "inbox.v1") {
		in := &inboxv1.InboxRecord{}
		if err := proto.Unmarshal(r.Value, in); err != nil {
			t.Fatal(err)
		}
		out = append(out, in)
	}
	return out
}

func TestABatchIsSplitByAssetAndKeepsValuesQualityAndPositions(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	samples := []pipeline.Sample{
		{Tag: "L1/a", Value: pipeline.Uint(65535), Quality: pipeline.GoodOverflow, At: t0, ServerAt: t0.Add(time.Millisecond), Seen: t0.Add(2 * time.Millisecond), Position: 1 << 40, Flags: pipeline.FlagOverflow},
		{Tag: "L2/a", Value: pipeline.Text("4711"), At: t0, Seen: t0, Position: 1<<40 + 1},
		{Tag: "L1/b", Value: pipeline.Null(), Quality: pipeline.BadSensorFailure, At: t0.Add(time.Second), Seen: t0, Position: 1<<40 + 2, Op: pipeline.OpDelete},
	}
	out, err := newOutlet(t.Context(), options(c))
	if err != nil {
		t.Fatal(err)
	}
	batch := pipeline.Batch{Session: "s", Samples: samples, Watermark: t0, State: pipeline.StateLive, Cursor: []byte("c1"), Orders: []*eventv1.ProductionOrder{{OrderId: "4711"}}, Dead: []pipeline.DeadLetter{{Code: "X", Reason: "r"}}}
	if err := out.Emit(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	var got []pipeline.Sample
	for _, in := range inboxOf(t, c) {
		got = inbox.Decode(in.GetTags(), got)
	}
	want := []pipeline.Sample{samples[0], samples[2], samples[1]} // L1 first, then L2
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b pipeline.Value) bool { return a == b })); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
	if n := len(records(t, c, "order.request.v1")); n != 1 {
		t.Errorf("%d order documents, want 1", n)
	}
	if n := len(records(t, c, "dlq.source.v1")); n != 1 {
		t.Errorf("%d dead letters, want 1", n)
	}
	cursor, err := loadCursor(t.Context(), options(c))
	if err != nil || string(cursor) != "c1" {
		t.Errorf("cursor %q, %v", cursor, err)
	}
}

func TestSamplesWithAndWithoutPositionsDoNotShareARecord(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	out, err := newOutlet(t.Context(), options(c))
	if err != nil {
		t.Fatal(err)
	}
	var samples []pipeline.Sample
	for _, p := range []uint64{5, 6, 0, 0, 7} {
		samples = append(samples, pipeline.Sample{Tag: "L1/a", Value: pipeline.Uint(p), At: t0, Position: p})
	}
	if err := out.Emit(t.Context(), pipeline.Batch{Samples: samples, Watermark: t0}); err != nil {
		t.Fatal(err)
	}
	var got []uint64
	var promised []bool
	for _, in := range inboxOf(t, c) {
		for _, s := range inbox.Decode(in.GetTags(), nil) {
			got = append(got, s.Position)
		}
		promised = append(promised, in.GetTags().GetWatermarkNs() != 0)
	}
	if diff := cmp.Diff([]uint64{5, 6, 0, 0, 7}, got); diff != "" {
		t.Errorf("positions (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]bool{false, false, true}, promised); diff != "" {
		t.Errorf("records with a watermark (-want +got):\n%s", diff)
	}
}

func TestAnUnknownTagIsAnErrorAndNothingIsWritten(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	out, err := newOutlet(t.Context(), options(c))
	if err != nil {
		t.Fatal(err)
	}
	err = out.Emit(t.Context(), pipeline.Batch{Samples: []pipeline.Sample{{Tag: "L1/a", At: t0}, {Tag: "L9/x", At: t0}}, Cursor: []byte("c")})
	if err == nil || len(records(t, c, "inbox.v1")) != 0 || len(records(t, c, "cursor.v1")) != 0 {
		t.Errorf("err %v, and something was written", err)
	}
}

// The cursor of a batch is saved only after its samples are durable, and a restart of Run gets the newest one.
func TestRunIsRestartedWithTheNewestCursor(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var cursors []string
	src := script(func(ctx context.Context, cursor []byte, out pipeline.Outlet) error {
		cursors = append(cursors, string(cursor))
		if len(cursors) == 3 {
			cancel()
			<-ctx.Done()
			return nil
		}
		n := byte('0' + len(cursors))
		if err := out.Emit(ctx, pipeline.Batch{Samples: []pipeline.Sample{{Tag: "L1/a", At: t0}}, Cursor: []byte{n}}); err != nil {
			return err
		}
		return errors.New("lost")
	})
	if err := Run(ctx, src, options(c)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"", "1", "2"}, cursors); diff != "" {
		t.Errorf("cursors (-want +got):\n%s", diff)
	}
}

// R9: the cursor topic holds little more than the newest cursor of each source, and none of these is lost.
func TestOldCursorsAreDeletedAndTheNewestOfEverySourceStay(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	line, err := newOutlet(t.Context(), options(c))
	if err != nil {
		t.Fatal(err)
	}
	o := options(c)
	o.ID = "quiet"
	quiet, err := newOutlet(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	save := func(out *outlet, cursor string) {
		t.Helper()
		if err := out.saveCursor(t.Context(), []byte(cursor)); err != nil {
			t.Fatal(err)
		}
	}
	save(quiet, "q")
	for i := range 50 {
		save(line, fmt.Sprint(i))
	}
	for _, out := range []*outlet{quiet, line} {
		if err := out.tidyOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(records(t, c, "cursor.v1")); n > 3 {
		t.Errorf("%d cursors are kept, want at most 3", n)
	}
	for _, want := range []struct{ id, cursor string }{{"line", "49"}, {"quiet", "q"}} {
		o.ID = want.id
		if got, err := loadCursor(t.Context(), o); err != nil || string(got) != want.cursor {
			t.Errorf("cursor of %s is %q, %v; want %q", want.id, got, err, want.cursor)
		}
	}
}

// R10: a heartbeat moves time where tags are quiet, and promises only what durable batches promised.
func TestHeartbeatsCarryTheWatermarkOfDurableBatches(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	src := script(func(ctx context.Context, _ []byte, out pipeline.Outlet) error {
		if err := out.Emit(ctx, pipeline.Batch{Watermark: t0, State: pipeline.StateFilling, ClockSkew: time.Second}); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	})
	done := make(chan error, 1)
	go func() { done <- Run(ctx, src, options(c)) }()
	f := c.NewFetcher(c.Topic("inbox.v1"), 0, 0, kafka.FetchOptions{})
	recs, err := f.Fetch(t.Context())
	for err == nil && len(recs) == 0 {
		recs, err = f.Fetch(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	var in inboxv1.InboxRecord
	if err := proto.Unmarshal(recs[0].Value, &in); err != nil {
		t.Fatal(err)
	}
	want := &inboxv1.Heartbeat{SourceId: "line", State: inboxv1.SourceState_SOURCE_STATE_FILLING, WatermarkNs: t0.UnixNano(), ClockSkewNs: 1e9}
	if !proto.Equal(want, in.GetHeartbeat()) {
		t.Errorf("heartbeat %v, want %v", in.GetHeartbeat(), want)
	}
}

// device is a source that also takes commands.
type device struct {
	script
	mu    sync.Mutex
	calls []string
	reply func(n int, cmd *inboxv1.Command) (*inboxv1.CommandResult, error)
}

func (d *device) Execute(_ context.Context, cmd *inboxv1.Command) (*inboxv1.CommandResult, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, cmd.GetCommandId())
	return d.reply(len(d.calls), cmd)
}

func idle(ctx context.Context, _ []byte, _ pipeline.Outlet) error { <-ctx.Done(); return nil }

func command(id string, in time.Duration) *inboxv1.Command {
	return &inboxv1.Command{CommandId: id, SourceId: "line", AssetPath: "demo/L1", CorrelationId: "rule/" + id, Deadline: timestamppb.New(time.Now().Add(in))}
}

func send(t *testing.T, c *kafka.Client, cmds ...*inboxv1.Command) {
	t.Helper()
	var recs []kafka.Record
	for _, cmd := range cmds {
		v, err := proto.Marshal(cmd)
		if err != nil {
			t.Fatal(err)
		}
		recs = append(recs, kafka.Record{Topic: c.Topic("command.v1"), Partition: 0, Key: []byte(cmd.GetSourceId()), Value: v})
	}
	if _, err := c.NewProducer(kafka.ProducerOptions{}).Produce(t.Context(), recs); err != nil {
		t.Fatal(err)
	}
}

// runCommandsUntil runs the source until the asset's inbox holds n results, and returns them in words.
func runCommandsUntil(t *testing.T, c *kafka.Client, d *device, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- Run(ctx, d, options(c)) }()
	var got []string
	f := c.NewFetcher(c.Topic("inbox.v1"), 0, 0, kafka.FetchOptions{})
	for len(got) < n {
		recs, err := f.Fetch(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recs {
			var in inboxv1.InboxRecord
			if err := proto.Unmarshal(r.Value, &in); err != nil {
				t.Fatal(err)
			}
			if res := in.GetCommandResult(); res != nil {
				got = append(got, fmt.Sprintf("%s %s %s %s", r.Key, res.GetCommandId(), res.GetCorrelationId(), res.GetOutcome().String()[len("COMMAND_OUTCOME_"):]))
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("results %q, want %d", got, n)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return got
}

// R3: a known id and everything past its deadline is dropped; what was done once is never written again.
func TestACommandIsExecutedAtMostOnce(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	d := &device{script: idle, reply: func(_ int, cmd *inboxv1.Command) (*inboxv1.CommandResult, error) {
		return result(cmd, inboxv1.CommandOutcome_COMMAND_OUTCOME_DONE, ""), nil
	}}
	other := command("other", time.Minute)
	other.SourceId = "another"
	send(t, c, command("a", time.Minute), command("a", time.Minute), other, command("old", -time.Second), command("b", time.Minute))
	got := runCommandsUntil(t, c, d, 3)
	want := []string{"demo/L1 a rule/a DONE", "demo/L1 old rule/old EXPIRED", "demo/L1 b rule/b DONE"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	send(t, c, command("a", time.Minute), command("c", time.Minute))
	if got := runCommandsUntil(t, c, d, 4); got[3] != "demo/L1 c rule/c DONE" {
		t.Errorf("after a restart: %q", got)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, d.calls); diff != "" {
		t.Errorf("executed (-want +got):\n%s", diff)
	}
}

// R3: INTENT without a result is UNKNOWN after a restart, and the write is not made a second time.
func TestACommandThatWasInterruptedIsUnknown(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	o := options(c)
	txn, err := c.OpenTxn(t.Context(), c.Topic("source.line"))
	if err != nil {
		t.Fatal(err)
	}
	before := &commands{o: o, txn: txn, known: map[string]bool{}}
	send(t, c, command("a", time.Minute))
	if err := before.intent(t.Context(), command("a", time.Minute)); err != nil {
		t.Fatal(err)
	}
	d := &device{script: idle, reply: func(int, *inboxv1.Command) (*inboxv1.CommandResult, error) {
		return nil, errors.New("must not be called")
	}}
	if diff := cmp.Diff([]string{"demo/L1 a rule/a UNKNOWN"}, runCommandsUntil(t, c, d, 1)); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if len(d.calls) != 0 {
		t.Errorf("executed %q", d.calls)
	}
}

// R4: a process that was fenced while the device was away writes nothing when the device comes back.
func TestAFencedOwnerDoesNotWrite(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	var clock atomic.Int64
	o := options(c)
	o.Now = func() time.Time { return t0.Add(time.Duration(clock.Load())) }
	away := make(chan struct{}, 100)
	d := &device{script: idle, reply: func(int, *inboxv1.Command) (*inboxv1.CommandResult, error) {
		away <- struct{}{}
		return nil, pipeline.ErrNotConnected
	}}
	cmd := command("a", 0)
	cmd.Deadline = timestamppb.New(t0.Add(time.Hour))
	send(t, c, cmd)
	done := make(chan error, 1)
	go func() { done <- Run(t.Context(), d, o) }()
	<-away
	if _, err := c.OpenTxn(t.Context(), c.Topic("source.line")); err != nil { // the new owner
		t.Fatal(err)
	}
	clock.Store(int64(startWithin)) // its permit is used up; an attempt may have begun before
	d.mu.Lock()
	last := len(d.calls)
	d.mu.Unlock()
	if err := <-done; !errors.Is(err, kafka.ErrFenced) {
		t.Errorf("the fenced owner ended with %v", err)
	}
	if len(d.calls) > last+1 {
		t.Errorf("the fenced owner went on: %d attempts after its permit", len(d.calls)-last)
	}
}

func TestWhileTheDeviceIsAwayACommandWaitsUntilItsDeadline(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	d := &device{script: idle, reply: func(n int, cmd *inboxv1.Command) (*inboxv1.CommandResult, error) {
		if n < 3 || cmd.GetCommandId() == "late" {
			return nil, pipeline.ErrNotConnected
		}
		return result(cmd, inboxv1.CommandOutcome_COMMAND_OUTCOME_DONE, ""), nil
	}}
	send(t, c, command("a", time.Minute), command("late", 2*time.Second))
	want := []string{"demo/L1 a rule/a DONE", "demo/L1 late rule/late EXPIRED"}
	if diff := cmp.Diff(want, runCommandsUntil(t, c, d, 2)); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
}

func TestAnAcknowledgementThatIsRefusedIsGivenUp(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	d := &device{script: idle, reply: func(_ int, cmd *inboxv1.Command) (*inboxv1.CommandResult, error) {
		if cmd.GetIdempotent() {
			return result(cmd, inboxv1.CommandOutcome_COMMAND_OUTCOME_REFUSED, "not writable"), nil
		}
		return result(cmd, inboxv1.CommandOutcome_COMMAND_OUTCOME_DONE, ""), nil
	}}
	send(t, c, &inboxv1.Command{CommandId: "ack", SourceId: "line", AssetPath: "demo/L1", Idempotent: true}, command("b", time.Minute))
	runCommandsUntil(t, c, d, 1)
	if diff := cmp.Diff([]string{"ack", "ack", "ack", "ack", "ack", "b"}, d.calls); diff != "" {
		t.Errorf("executed (-want +got):\n%s", diff)
	}
}

func TestAnAcknowledgementIsRepeatedUntilTheDeviceTookIt(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	d := &device{script: idle, reply: func(n int, cmd *inboxv1.Command) (*inboxv1.CommandResult, error) {
		if n < 3 {
			return nil, errors.New("connection lost in the middle")
		}
		return result(cmd, inboxv1.CommandOutcome_COMMAND_OUTCOME_DONE, ""), nil
	}}
	send(t, c, &inboxv1.Command{CommandId: "ack", SourceId: "line", AssetPath: "demo/L1", Idempotent: true}, command("b", time.Minute))
	runCommandsUntil(t, c, d, 1)
	if diff := cmp.Diff([]string{"ack", "ack", "ack", "b"}, d.calls); diff != "" {
		t.Errorf("executed (-want +got):\n%s", diff)
	}
}
