package mapper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/mapping"
	"github.com/plantloom/plantloom/mapping/engine"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/inbox"
	"github.com/plantloom/plantloom/pipeline/kafka"
	"github.com/plantloom/plantloom/pipeline/step"
)

const example = "../../examples/bottling-line"

var t0 = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func loadSet(t *testing.T) *mapping.Set {
	t.Helper()
	return loadFS(t, os.DirFS(example))
}

func loadFS(t *testing.T, files fs.FS) *mapping.Set {
	t.Helper()
	tags := map[string][]pipeline.Tag{}
	var faults conf.Faults
	for source, list := range map[string]string{"line": "tags.csv", "old_line": "old_line.tags.csv"} {
		text, err := os.ReadFile(example + "/" + list)
		if err != nil {
			t.Fatal(err)
		}
		tags[source] = mapping.ReadTags(list, text, &faults)
	}
	set := mapping.Load(files, tags, &faults)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	return set
}

func newClient(t *testing.T) *kafka.Client {
	t.Helper()
	c, _ := newCluster(t)
	return c
}

func newCluster(t *testing.T) (*kafka.Client, []string) {
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
	return c, cluster.ListenAddrs()
}

// entry is one inbox record before it is written.
type entry struct {
	key string
	rec *inboxv1.InboxRecord
}

// day is an inbox in which three lines work one order in the same minute, with a roll-over and a bad reading.
func day(set *mapping.Set) (log []entry) {
	for _, asset := range set.Assets() {
		log = append(log, entry{asset, &inboxv1.InboxRecord{Kind: &inboxv1.InboxRecord_SourceSet{SourceSet: &inboxv1.SourceSet{
			AssetPath: asset, SourceIds: set.SourcesOf(asset),
		}}}})
	}
	position := uint64(0)
	add := func(line string, at time.Duration, values map[string]pipeline.Value, bad ...string) {
		asset := "demo/riverside/bottling/" + line
		var samples []pipeline.Sample
		for _, name := range []string{"Order.No", "Order.Operation", "Order.Done", "Order.Good", "Order.Scrap", "Cnt.Good", "Cnt.Scrap"} {
			v, ok := values[name]
			if !ok {
				continue
			}
			position++
			s := pipeline.Sample{Tag: line + "/" + name, Value: v, At: t0.Add(at), Seen: t0.Add(at), Position: position}
			for _, b := range bad {
				if b == name {
					s.Value, s.Quality = pipeline.Null(), pipeline.BadSensorFailure
				}
			}
			samples = append(samples, s)
		}
		b := pipeline.Batch{Session: "s", Watermark: t0.Add(at), State: pipeline.StateLive}
		log = append(log, entry{asset, inbox.Encode("line", b, samples, func(string) inbox.Meta { return inbox.Meta{Asset: asset} })})
	}
	lines := []string{"L1", "L2", "L3"}
	for _, l := range lines {
		add(l, 0, map[string]pipeline.Value{
			"Order.No": pipeline.Text("4711"), "Order.Operation": pipeline.Text("0010"), "Order.Done": pipeline.Bool(false), "Order.Good": pipeline.Uint(0),
			"Order.Scrap": pipeline.Uint(0), "Cnt.Good": pipeline.Uint(65530), "Cnt.Scrap": pipeline.Uint(7),
		})
	}
	for i := 1; i <= 40; i++ {
		for _, l := range lines {
			v := map[string]pipeline.Value{"Cnt.Good": pipeline.Uint(uint64(65530+i) % 65536)}
			if i == 20 {
				add(l, time.Duration(i)*time.Second, v, "Cnt.Good")
			} else {
				add(l, time.Duration(i)*time.Second, v)
			}
		}
	}
	for _, l := range lines {
		add(l, 41*time.Second, map[string]pipeline.Value{"Order.Good": pipeline.Uint(40), "Order.Done": pipeline.Bool(true)})
		add(l, 60*time.Second, map[string]pipeline.Value{"Order.No": pipeline.Text(""), "Order.Done": pipeline.Bool(false)})
		add(l, 120*time.Second, nil)
	}
	return log
}

func write(t *testing.T, c *kafka.Client, log []entry) {
	t.Helper()
	var recs []kafka.Record
	for _, e := range log {
		v, err := proto.Marshal(e.rec)
		if err != nil {
			t.Fatal(err)
		}
		recs = append(recs, kafka.Record{Topic: c.Topic("inbox.v1"), Partition: 0, Key: []byte(e.key), Value: v})
	}
	if _, err := c.NewProducer(kafka.ProducerOptions{}).Produce(t.Context(), recs); err != nil {
		t.Fatal(err)
	}
}

// runTo runs a mapper with the given state topic until it has committed the input offset.
func runTo(t *testing.T, c *kafka.Client, set *mapping.Set, state string, offset float64, kept ...*mapping.Set) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	m := New(Options{
		Client: c, Current: set, Config: engine.Config{Site: "demo"}, Log: slog.New(slog.DiscardHandler), Count: func(string, float64) {},
		Kept: func(digest string) (*mapping.Set, error) {
			for _, k := range kept {
				if k.Digest == digest {
					return k, nil
				}
			}
			return nil, errors.New("no such version is kept")
		},
	})
	reached := false
	err := step.Run(ctx, m, step.Options{
		Task: "map", Input: c.Topic("inbox.v1"), State: c.Topic(state), Client: c, Log: slog.New(slog.DiscardHandler), Now: time.Now, QuietFor: time.Millisecond,
		Gauge: func(name string, v float64) {
			if name == "input_offset" && v >= offset {
				reached = true
				cancel()
			}
		},
	})
	if err != nil || !reached {
		t.Fatalf("the mapper ended with %v, reached %v", err, reached)
	}
}

// events returns id, type and body of every event record, in the order of the topic.
func events(t *testing.T, c *kafka.Client) (ids []string, bodies map[string]string) {
	t.Helper()
	bodies = map[string]string{}
	if _, err := c.ReadAll(t.Context(), c.Topic("event.production.v1"), 0, 0, func(r kafka.Record) error {
		id := string(r.Header("ce_id"))
		if before, again := bodies[id]; again && before != string(r.Value) {
			return fmt.Errorf("event %s has two contents", id)
		}
		if _, again := bodies[id]; !again {
			ids = append(ids, id)
		}
		bodies[id] = string(r.Value)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return ids, bodies
}

// R13: three machines on one order in the same minute give three events; R5: a restart in the middle of a minute, and a
// replay of the whole inbox by another task, give the same events byte by byte.
func TestRestartAndReplayGiveTheSameEvents(t *testing.T) {
	t.Parallel()
	set := loadSet(t)
	log := day(set)

	plain := newClient(t)
	write(t, plain, log)
	runTo(t, plain, set, "state.v1", float64(len(log)))
	wantIDs, want := events(t, plain)

	perType := map[string]int{}
	for _, body := range want {
		e := &eventv1.ProductionOrderEvent{}
		if err := proto.Unmarshal([]byte(body), e); err != nil {
			t.Fatal(err)
		}
		perType[fmt.Sprintf("%s %s", e.GetType(), e.GetHeader().GetOccurredAt().AsTime().Sub(t0))]++
	}
	for _, kind := range []string{"PRODUCTION_ORDER_EVENT_TYPE_PROGRESS 10s", "PRODUCTION_ORDER_EVENT_TYPE_COMPLETED 41s"} {
		if perType[kind] != 3 {
			t.Errorf("%d events %q, want one of each of the three machines; have %v", perType[kind], kind, perType)
		}
	}

	replayed, brokers := newCluster(t)
	done := 0
	for _, cut := range []int{len(log) / 4, len(log) / 2, len(log)} { // in the middle of a minute
		copyLog(t, plain, brokers, done, cut)
		runTo(t, replayed, set, "state.v1", float64(cut))
		done = cut
	}
	gotIDs, got := events(t, replayed)
	if diff := cmp.Diff(wantIDs, gotIDs); diff != "" {
		t.Errorf("ids after restarts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events after restarts differ")
	}
	runTo(t, plain, set, "state.dispatch.v1", float64(len(log))) // from the front, with a state of its own
	again, bodies := events(t, plain)
	if len(again) != len(wantIDs) || !cmp.Equal(bodies, want) {
		t.Errorf("a replay gives %d events, want the same %d", len(again), len(wantIDs))
	}
}

// copyLog writes a part of one inbox into another with the same record times, which are part of events.
func copyLog(t *testing.T, from *kafka.Client, brokers []string, first, end int) {
	t.Helper()
	var recs []kafka.Record
	if _, err := from.ReadAll(t.Context(), from.Topic("inbox.v1"), 0, 0, func(r kafka.Record) error {
		recs = append(recs, r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	recs = recs[first:end]
	clock := recs[0].Time
	c, err := kafka.Open(kafka.Config{Brokers: brokers, Namespace: "t", Partitions: 1, Embedded: true, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return clock }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := c.NewProducer(kafka.ProducerOptions{})
	for _, r := range recs {
		clock = r.Time
		r.Partition = 0
		if _, err := p.Produce(t.Context(), []kafka.Record{r}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARecordThatCannotBeReadIsADeadLetterAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	set := loadSet(t)
	c := newClient(t)
	if _, err := c.NewProducer(kafka.ProducerOptions{}).Produce(t.Context(), []kafka.Record{{Topic: c.Topic("inbox.v1"), Partition: 0, Key: []byte("x"), Value: []byte("\xff\xff")}}); err != nil {
		t.Fatal(err)
	}
	log := day(set)
	write(t, c, log)
	runTo(t, c, set, "state.v1", float64(len(log)+1))
	if ids, _ := events(t, c); len(ids) == 0 {
		t.Error("no events after the bad record")
	}
	dead := 0
	if _, err := c.ReadAll(t.Context(), c.Topic("dlq.map.v1"), 0, 0, func(r kafka.Record) error {
		d := &inboxv1.DeadLetter{}
		dead++
		if err := proto.Unmarshal(r.Value, d); err != nil || d.GetCode() != "RECORD_UNREADABLE" || d.GetCauseOffset() != 0 {
			return fmt.Errorf("dead letter %v, %w", d, err)
		}
		return nil
	}); err != nil || dead != 1 {
		t.Errorf("%d dead letters, %v", dead, err)
	}
}

// R14: a restart with new files runs the version that the marker names until the log says to switch; the switch loses no
// count, and events say which version made them.
func TestTheLogSaysWhenAMappingVersionBegins(t *testing.T) {
	t.Parallel()
	old := loadSet(t)
	files := fstest.MapFS{}
	names, err := fs.Glob(os.DirFS(example), "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(example + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if name == "line.map.yaml" {
			text = []byte(strings.Replace(string(text), "actual_start: =event_time", "actual_start: =event_time\n      shift_id: early", 1))
		}
		files[name] = &fstest.MapFile{Data: text}
	}
	changed := loadFS(t, files)
	if changed.Digest == old.Digest {
		t.Fatal("the changed set has the same digest")
	}
	log := day(old)
	half := len(log) / 2
	c := newClient(t)
	write(t, c, log[:half/2])
	runTo(t, c, old, "state.v1", float64(half/2))
	write(t, c, log[half/2:half]) // read by a process that already has the new files
	runTo(t, c, changed, "state.v1", float64(half), old)
	write(t, c, []entry{{"", &inboxv1.InboxRecord{Kind: &inboxv1.InboxRecord_MappingActivated{MappingActivated: &inboxv1.MappingActivated{Digest: changed.Digest}}}}})
	write(t, c, log[half:])
	runTo(t, c, changed, "state.v1", float64(len(log)+1), old)

	sums, digests := map[string]int{}, map[string]int{}
	_, bodies := events(t, c)
	for _, body := range bodies {
		e := &eventv1.ProductionOrderEvent{}
		if err := proto.Unmarshal([]byte(body), e); err != nil {
			t.Fatal(err)
		}
		digests[e.GetHeader().GetProvenance().GetMappingDigest()]++
		n := 0
		if v := e.GetDelta().GetGood().GetValue(); v != "" {
			if _, err := fmt.Sscan(v, &n); err != nil {
				t.Fatal(err)
			}
		}
		sums[e.GetHeader().GetScope().GetWorkCenter()] += n
	}
	if diff := cmp.Diff(map[string]int{"L1": 40, "L2": 40, "L3": 40}, sums); diff != "" {
		t.Errorf("pieces (-want +got):\n%s", diff)
	}
	if digests[old.Digest] == 0 || digests[changed.Digest] == 0 || len(digests) != 2 {
		t.Errorf("events per version: %v", digests)
	}
}
