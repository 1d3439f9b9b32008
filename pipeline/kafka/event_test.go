package kafka_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

func offline(t *testing.T) *kafka.Client {
	t.Helper()
	c, err := kafka.Open(kafka.Config{Brokers: []string{"127.0.0.1:1"}, Namespace: "ns", Partitions: 12, Now: newClock().Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// R13: equal events give equal records, and every revision has an id of its own. R8: ce_time is the event time.
func TestAnEventComesBackFromItsRecord(t *testing.T) {
	t.Parallel()
	c := offline(t)
	at := time.Date(2026, 3, 1, 5, 59, 58, 123456789, time.UTC)
	for name, e := range map[string]pipeline.Event{
		"first record": {ID: "0a1b", Type: "ProductionOrderEvent", Key: "4711", At: at, Body: []byte{1, 2}},
		"correction":   {ID: "0a1b", Revision: 12, Type: "QualityEvent", Key: "LOT/1", At: at, Body: []byte{3}},
		"back-fill":    {ID: "0a1b", Type: "EnergyEvent", Key: "meter", At: at, Body: []byte{4}, Historical: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := c.EventRecord(e, "/site/line/counts")
			if diff := cmp.Diff(r, c.EventRecord(e, "/site/line/counts")); diff != "" {
				t.Errorf("two records of one event differ:\n%s", diff)
			}
			got, err := kafka.ParseEvent(r)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(e, got); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
			if id := string(r.Header("ce_id")); id != e.EffectID() {
				t.Errorf("ce_id %s, want %s", id, e.EffectID())
			}
		})
	}
	r := c.EventRecord(pipeline.Event{ID: "x", Revision: 2, Type: "OeeEvent", At: at}, "/a")
	want := map[string]string{
		"ce_specversion": "1.0", "ce_id": "x.2", "ce_type": "plantloom.event.v1.OeeEvent", "ce_source": "/a",
		"ce_time": "2026-03-01T05:59:58.123456789Z", "content-type": "application/protobuf",
	}
	for k, v := range want {
		if got := string(r.Header(k)); got != v {
			t.Errorf("header %s is %q, want %q", k, got, v)
		}
	}
	if r.Topic != "ns.event.equipment.v1" {
		t.Errorf("topic %s", r.Topic)
	}
}

func TestARecordThatIsNoEventSaysWhy(t *testing.T) {
	t.Parallel()
	h := func(kv ...string) kafka.Record {
		r := kafka.Record{Topic: "a", Offset: 7}
		for i := 0; i < len(kv); i += 2 {
			r.Headers = append(r.Headers, kafka.Header{Key: kv[i], Value: []byte(kv[i+1])})
		}
		return r
	}
	for want, r := range map[string]kafka.Record{
		"ce_id is missing":   h(),
		"should begin with":  h("ce_id", "x", "ce_type", "other"),
		"header ce_time":     h("ce_id", "x", "ce_type", "plantloom.event.v1.X", "ce_time", "noon"),
		"header ce_revision": h("ce_id", "x", "ce_type", "plantloom.event.v1.X", "ce_time", "2026-03-01T00:00:00Z", "ce_revision", "-1"),
		"they do not agree":  h("ce_id", "x.1", "ce_type", "plantloom.event.v1.X", "ce_time", "2026-03-01T00:00:00Z", "ce_revision", "2"),
		"offset 7 of a/0":    h(),
	} {
		if _, err := kafka.ParseEvent(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestADeadLetterExplainsItself(t *testing.T) {
	t.Parallel()
	c := offline(t)
	cause := kafka.Cause{Topic: "ns.inbox.v1", Partition: 3, Offset: 99, Time: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	d := pipeline.DeadLetter{Stage: "map", Code: "RULE_NULL_FIELD", Reason: "bad \xff byte", Key: "k\xfe", EventType: "QualityEvent", ContentType: "application/protobuf", Body: make([]byte, 950_000), Details: map[string]string{"rule": "r"}}
	r := c.DeadLetterRecord("map", d, cause)
	if diff := cmp.Diff(r, c.DeadLetterRecord("map", d, cause)); diff != "" {
		t.Errorf("equal causes give different records:\n%s", diff)
	}
	if r.Topic != "ns.dlq.map.v1" || string(r.Key) != "k\xfe" {
		t.Errorf("topic %s, key %q: the key stays as it was", r.Topic, r.Key)
	}
	if len(r.Value) > 1_000_000 {
		t.Errorf("%d bytes do not fit", len(r.Value))
	}
	for k, v := range map[string]string{
		"__connect.errors.topic": "ns.inbox.v1", "__connect.errors.partition": "3", "__connect.errors.offset": "99",
		"__connect.errors.stage": "map", "__connect.errors.exception.class.name": "RULE_NULL_FIELD",
	} {
		if got := string(r.Header(k)); got != v {
			t.Errorf("header %s is %q, want %q", k, got, v)
		}
	}
	var m inboxv1.DeadLetter
	if err := proto.Unmarshal(r.Value, &m); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"rule": "r", "body_bytes": "950000", "body_cut_to": "900000"}
	if diff := cmp.Diff(want, m.GetDetails(), protocmp.Transform()); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
	if c.DeadLetterRecord("map", d, kafka.Cause{Topic: "ns.inbox.v1", Offset: 100}).Header("ce_id") == nil {
		t.Error("a dead letter has no id")
	}
}

func TestTheTopicsOfAPlant(t *testing.T) {
	t.Parallel()
	got := map[string]kafka.TopicSpec{}
	for _, s := range kafka.Topics("ns", 12, map[string][]string{"erp": {"event.production.v1", "event.quality.v1"}}) {
		if _, ok := got[s.Name]; ok {
			t.Errorf("topic %s is there twice", s.Name)
		}
		got[s.Name] = s
	}
	// R2: a receipt topic has as many partitions as its event topic.
	for _, name := range []string{"ns.receipt.erp.event.production.v1", "ns.receipt.erp.event.quality.v1", "ns.hold.erp.v1", "ns.state.v1", "ns.inbox.v1", "ns.backfill.v1"} {
		if got[name].Partitions != 12 {
			t.Errorf("topic %s has %d partitions", name, got[name].Partitions)
		}
	}
	for _, name := range []string{"ns.dlq.erp.v1", "ns.dlq.map.v1", "ns.dlq.dispatch.v1", "ns.dlq.source.v1", "ns.mapping.v1", "ns.late.v1", "ns.order.v1", "ns.command.result.v1"} {
		if got[name].Partitions == 0 {
			t.Errorf("topic %s is missing", name)
		}
	}
	if !got["ns.order.v1"].Compact || got["ns.order.request.v1"].Compact {
		t.Error("order.v1 is compacted, order.request.v1 is not")
	}
}

func TestTopicsAreCreatedOnceAndNeverWithAnotherNumberOfPartitions(t *testing.T) {
	t.Parallel()
	for _, embedded := range []bool{false, true} {
		k := cluster(t)
		c := open(t, k, embedded, nil)
		specs := kafka.Topics("ns", 3, map[string][]string{"erp": {"event.production.v1"}})
		for range 2 {
			if err := c.EnsureTopics(within(t, 20*time.Second), specs); err != nil {
				t.Fatal(err)
			}
		}
		policy := k.TopicInfo("ns.state.v1").Configs["cleanup.policy"]
		// R9: no compaction on the embedded broker.
		if compacts := policy != nil && strings.Contains(*policy, "compact"); compacts == embedded {
			t.Errorf("embedded %v: cleanup.policy %v", embedded, policy)
		}
		err := c.EnsureTopics(within(t, 20*time.Second), kafka.Topics("ns", 4, nil))
		if err == nil || !strings.Contains(err.Error(), "has 3 partitions, the configuration says 4") {
			t.Errorf("error %v", err)
		}
		if n := c.PartitionFor("ns.dlq.map.v1", []byte("any key")); n != 0 {
			t.Errorf("partition %d of a topic with one", n)
		}
	}
}

func TestGroupOffsetsAreKept(t *testing.T) {
	t.Parallel()
	c := open(t, cluster(t), false, map[string]int{"a": 2})
	if _, ok, err := c.CommittedOffset(within(t, 10*time.Second), "g", "a", 1); ok || err != nil {
		t.Fatalf("%v, %v before the first commit", ok, err)
	}
	if err := c.CommitOffset(within(t, 10*time.Second), "g", "a", 1, 42); err != nil {
		t.Fatal(err)
	}
	if n, ok, err := c.CommittedOffset(within(t, 10*time.Second), "g", "a", 1); n != 42 || !ok || err != nil {
		t.Errorf("%d, %v, %v", n, ok, err)
	}
}

func TestReadAllStopsAtTheFirstErrorOfItsCaller(t *testing.T) {
	t.Parallel()
	c := open(t, cluster(t), false, map[string]int{"a": 1})
	if _, err := c.NewProducer(kafka.ProducerOptions{}).Produce(within(t, 10*time.Second), numbered("a", 0, 0, 10)); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	next, err := c.ReadAll(within(t, 10*time.Second), "a", 0, 0, func(r kafka.Record) error {
		if r.Offset == 4 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || next != 4 {
		t.Errorf("%d, %v", next, err)
	}
	if err := c.DeleteRecords(within(t, 10*time.Second), "a", 0, 99); err == nil {
		t.Error("records behind the end were deleted")
	}
}
