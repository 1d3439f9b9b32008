package kafka

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	kgo "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// TopicSpec is a topic as it must exist.
type TopicSpec struct {
	Name       string // with namespace
	Partitions int
	Compact    bool          // keep the newest record of each key; on the embedded broker our keeper does that (R9)
	Retention  time.Duration // 0: keep for ever
	Configs    map[string]string
}

const day = 24 * time.Hour

// topicDefault is what is known of a topic by the first part of its name.
type topicDefault struct {
	prefix    string
	single    bool // one partition: few records, or an order over all of them
	compact   bool
	retention time.Duration
}

// topicDefaults returns the one table of partition counts and retention.
func topicDefaults() []topicDefault {
	return []topicDefault{
		{prefix: "inbox.", retention: 7 * day},
		{prefix: "backfill.", retention: 7 * day},
		{prefix: "order.request.", retention: 30 * day},
		{prefix: "order.", compact: true},
		{prefix: "event.quality.", retention: 90 * day},
		{prefix: "event.", retention: 30 * day},
		{prefix: "command.result.", retention: 7 * day},
		{prefix: "command.", retention: 7 * day},
		{prefix: "receipt.", compact: true}, // the lanes remove what no replay can reach (R2)
		{prefix: "hold.", compact: false},
		{prefix: "state.", compact: true},
		{prefix: "cursor.", compact: true},
		{prefix: "mapping.", single: true, compact: true},
		{prefix: "status.", single: true, retention: day},
		{prefix: "dlq.", single: true, retention: 30 * day},
		{prefix: "late.", retention: 30 * day},
	}
}

func defaultOf(suffix string) topicDefault {
	for _, d := range topicDefaults() {
		if strings.HasPrefix(suffix, d.prefix) {
			return d
		}
	}
	return topicDefault{}
}

func specOf(ns, suffix string, partitions int) TopicSpec {
	d := defaultOf(suffix)
	if d.single {
		partitions = 1
	}
	return TopicSpec{Name: ns + "." + suffix, Partitions: partitions, Compact: d.compact, Retention: d.retention}
}

// ReceiptTopic returns the suffix of the topic in which a sink records what it did with the events of one topic.
func ReceiptTopic(sink, events string) string { return "receipt." + sink + "." + base(events) + ".v1" }

// HoldTopic returns the suffix of the topic to which a sink moves the events of long held lanes.
func HoldTopic(sink string) string { return "hold." + sink + ".v1" }

// DeadTopic returns the suffix of a stage's dead letters; the stage of a sink is its name.
func DeadTopic(stage string) string { return "dlq." + stage + ".v1" }

// base is a topic's suffix without its version, for use inside another name.
func base(suffix string) string { return strings.TrimSuffix(suffix, ".v1") }

// Topics returns every topic of a plant. sinks maps a sink's name to the suffixes of the event topics that it takes.
func Topics(ns string, partitions int, sinks map[string][]string) []TopicSpec {
	suffixes := []string{
		"inbox.v1", "backfill.v1", "order.request.v1", "order.v1", "event.production.v1", "event.quality.v1",
		"event.equipment.v1", "event.material.v1", "event.energy.v1", "command.v1", "command.result.v1", "state.v1", "state.dispatch.v1",
		"cursor.v1", "mapping.v1", "status.v1", "late.v1", DeadTopic("source"), DeadTopic("dispatch"), DeadTopic("map"),
	}
	for sink, events := range sinks {
		suffixes = append(suffixes, HoldTopic(sink), DeadTopic(sink))
		for _, e := range events {
			suffixes = append(suffixes, ReceiptTopic(sink, e))
		}
	}
	sort.Strings(suffixes)
	specs := make([]TopicSpec, 0, len(suffixes))
	for _, s := range suffixes {
		specs = append(specs, specOf(ns, s, partitions))
	}
	return specs
}

// EnsureTopics creates the topics that are missing. An existing topic with another number of partitions is an error,
// because keys would move to other partitions; other settings of existing topics are left alone.
func (c *Client) EnsureTopics(ctx context.Context, specs []TopicSpec) error {
	return c.retry(ctx, "creating topics", func(ctx context.Context) error { return c.ensure(ctx, specs) })
}

func (c *Client) ensure(ctx context.Context, specs []TopicSpec) error {
	m, err := c.layout(ctx)
	if err != nil {
		return err
	}
	var missing []createtopics.RequestTopic
	for _, s := range specs {
		n := countOf(m, s.Name)
		switch {
		case n == 0:
			missing = append(missing, c.request(s))
		case n != int32(s.Partitions):
			return &partitionsError{topic: s.Name, has: n, want: s.Partitions}
		default:
			c.setCount(s.Name, n)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	res, err := c.roundTrip(ctx, &createtopics.Request{Topics: missing, TimeoutMs: int32(requestTimeout.Milliseconds() / 2)})
	if err != nil {
		return fmt.Errorf("creating topics: %w", err)
	}
	for _, t := range res.(*createtopics.Response).Topics {
		if t.ErrorCode != 0 && kgo.Error(t.ErrorCode) != kgo.TopicAlreadyExists {
			return fmt.Errorf("creating topic %s: %w (%s)", t.Name, codeError(t.ErrorCode), t.ErrorMessage)
		}
	}
	return errLook
}

// errLook makes EnsureTopics look again, until the layout shows what was created, by us or by another process.
var errLook = kgo.UnknownTopicOrPartition

type partitionsError struct {
	topic string
	has   int32
	want  int
}

func (e *partitionsError) Error() string {
	return fmt.Sprintf("topic %s has %d partitions, the configuration says %d: the number is fixed when a topic is created; set kafka.partitions to %d or use another namespace", e.topic, e.has, e.want, e.has)
}

func countOf(m *metadata.Response, topic string) int32 {
	for i := range m.Topics {
		if m.Topics[i].Name == topic {
			return int32(len(m.Topics[i].Partitions))
		}
	}
	return 0
}

func (c *Client) request(s TopicSpec) createtopics.RequestTopic {
	r := createtopics.RequestTopic{Name: s.Name, NumPartitions: int32(s.Partitions), ReplicationFactor: -1} // the cluster's default
	if c.cfg.Embedded {
		r.ReplicationFactor = 1
	}
	for k, v := range c.settings(s) {
		r.Configs = append(r.Configs, createtopics.RequestConfig{Name: k, Value: v})
	}
	sort.Slice(r.Configs, func(i, j int) bool { return r.Configs[i].Name < r.Configs[j].Name })
	return r
}

// settings are the topic's configuration. The embedded broker gets neither compaction, which is not safe there against
// a crash, nor time retention, which can reset its offsets: its keeper does both (R9).
func (c *Client) settings(s TopicSpec) map[string]string {
	m := map[string]string{"message.timestamp.type": "CreateTime"}
	if !c.cfg.Embedded {
		m["retention.ms"] = "-1"
		if s.Retention > 0 {
			m["retention.ms"] = strconv.FormatInt(s.Retention.Milliseconds(), 10)
		}
		m["cleanup.policy"] = "delete"
		if s.Compact {
			m["cleanup.policy"] = "compact"
			if s.Retention > 0 {
				m["cleanup.policy"] = "compact,delete"
			}
		}
	}
	for k, v := range s.Configs {
		m[k] = v
	}
	return m
}

func (c *Client) setCount(topic string, n int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[topic] = n
}

// count returns the number of partitions of a topic, asking the cluster once.
func (c *Client) count(ctx context.Context, topic string) (int32, error) {
	c.mu.Lock()
	n, ok := c.counts[topic]
	c.mu.Unlock()
	if ok {
		return n, nil
	}
	m, err := c.layout(ctx)
	if err != nil {
		return 0, err
	}
	if n = countOf(m, topic); n == 0 {
		c.renew(c.wire.Load())
		return 0, fmt.Errorf("topic %s does not exist: %w", topic, kgo.UnknownTopicOrPartition)
	}
	c.setCount(topic, n)
	return n, nil
}

// PartitionFor returns the partition of a key as Java's producer chooses it. The number of partitions is the topic's
// when it is known from EnsureTopics or an earlier write, else what Topics would give it.
func (c *Client) PartitionFor(topic string, key []byte) int32 {
	c.mu.Lock()
	n, ok := c.counts[topic]
	c.mu.Unlock()
	if !ok {
		n = int32(specOf(c.cfg.Namespace, strings.TrimPrefix(topic, c.cfg.Namespace+"."), c.cfg.Partitions).Partitions)
	}
	return partition(key, n)
}

// place sets the partition of records that leave it to their key.
func (c *Client) place(ctx context.Context, recs []Record) ([]int32, error) {
	parts := make([]int32, len(recs))
	for i := range recs {
		if parts[i] = recs[i].Partition; parts[i] >= 0 {
			continue
		}
		err := c.retry(ctx, "finding topic "+recs[i].Topic, func(ctx context.Context) error {
			n, err := c.count(ctx, recs[i].Topic)
			if err == nil {
				parts[i] = partition(recs[i].Key, n)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("finding topic %s: %w", recs[i].Topic, err)
		}
	}
	return parts, nil
}
