package kafka

import (
	"github.com/segmentio/kafka-go/protocol"
)

// The messages that kafka-go lacks, or decodes in a way that cannot be bounded. They are registered once, while the
// package's variables are initialised and so before any connection exists.
//
// Fetch is ours because kafka-go decompresses a batch while it reads the answer: 16 KB can become gigabytes, and a
// poisoned batch cannot be stepped over. Here the record set stays raw bytes until decode.go has checked it.
var _ = register()

func register() bool {
	protocol.Register(&fetchRequest{}, &fetchResponse{})
	protocol.Register(&deleteRecordsRequest{}, &deleteRecordsResponse{})
	return true
}

// Field order and versions: Apache Kafka's FetchRequest.json and FetchResponse.json, v4 to v11.
type fetchRequest struct {
	ReplicaID       int32         `kafka:"min=v4,max=v11"`
	MaxWaitTime     int32         `kafka:"min=v4,max=v11"`
	MinBytes        int32         `kafka:"min=v4,max=v11"`
	MaxBytes        int32         `kafka:"min=v4,max=v11"`
	IsolationLevel  int8          `kafka:"min=v4,max=v11"`
	SessionID       int32         `kafka:"min=v7,max=v11"`
	SessionEpoch    int32         `kafka:"min=v7,max=v11"`
	Topics          []fetchTopic  `kafka:"min=v4,max=v11"`
	ForgottenTopics []forgetTopic `kafka:"min=v7,max=v11"`
	RackID          string        `kafka:"min=v11,max=v11"`
}

type fetchTopic struct {
	Topic      string           `kafka:"min=v4,max=v11"`
	Partitions []fetchPartition `kafka:"min=v4,max=v11"`
}

type fetchPartition struct {
	Partition          int32 `kafka:"min=v4,max=v11"`
	CurrentLeaderEpoch int32 `kafka:"min=v9,max=v11"`
	FetchOffset        int64 `kafka:"min=v4,max=v11"`
	LogStartOffset     int64 `kafka:"min=v5,max=v11"`
	PartitionMaxBytes  int32 `kafka:"min=v4,max=v11"`
}

type forgetTopic struct {
	Topic      string  `kafka:"min=v7,max=v11"`
	Partitions []int32 `kafka:"min=v7,max=v11"`
}

type fetchResponse struct {
	ThrottleTimeMs int32                `kafka:"min=v4,max=v11"`
	ErrorCode      int16                `kafka:"min=v7,max=v11"`
	SessionID      int32                `kafka:"min=v7,max=v11"`
	Topics         []fetchResponseTopic `kafka:"min=v4,max=v11"`
}

type fetchResponseTopic struct {
	Topic      string                   `kafka:"min=v4,max=v11"`
	Partitions []fetchResponsePartition `kafka:"min=v4,max=v11"`
}

type fetchResponsePartition struct {
	Partition            int32        `kafka:"min=v4,max=v11"`
	ErrorCode            int16        `kafka:"min=v4,max=v11"`
	HighWatermark        int64        `kafka:"min=v4,max=v11"`
	LastStableOffset     int64        `kafka:"min=v4,max=v11"`
	LogStartOffset       int64        `kafka:"min=v5,max=v11"`
	AbortedTransactions  []abortedTxn `kafka:"min=v4,max=v11"`
	PreferredReadReplica int32        `kafka:"min=v11,max=v11"`
	Records              []byte       `kafka:"min=v4,max=v11"`
}

type abortedTxn struct {
	ProducerID  int64 `kafka:"min=v4,max=v11"`
	FirstOffset int64 `kafka:"min=v4,max=v11"`
}

// ApiKey implements protocol.Message.
func (*fetchRequest) ApiKey() protocol.ApiKey { return protocol.Fetch }

// ApiKey implements protocol.Message.
func (*fetchResponse) ApiKey() protocol.ApiKey { return protocol.Fetch }

// Broker implements protocol.BrokerMessage: a fetch goes to the partition's leader. Requests name one partition.
func (r *fetchRequest) Broker(c protocol.Cluster) (protocol.Broker, error) {
	return leader(c, r.Topics[0].Topic, r.Topics[0].Partitions[0].Partition)
}

// Field order and versions: Apache Kafka's DeleteRecordsRequest.json and DeleteRecordsResponse.json, v0 and v1.
type deleteRecordsRequest struct {
	Topics    []deleteTopic `kafka:"min=v0,max=v1"`
	TimeoutMs int32         `kafka:"min=v0,max=v1"`
}

type deleteTopic struct {
	Name       string            `kafka:"min=v0,max=v1"`
	Partitions []deletePartition `kafka:"min=v0,max=v1"`
}

type deletePartition struct {
	Partition int32 `kafka:"min=v0,max=v1"`
	Offset    int64 `kafka:"min=v0,max=v1"` // the first one to keep
}

type deleteRecordsResponse struct {
	ThrottleTimeMs int32           `kafka:"min=v0,max=v1"`
	Topics         []deletedTopics `kafka:"min=v0,max=v1"`
}

type deletedTopics struct {
	Name       string              `kafka:"min=v0,max=v1"`
	Partitions []deletedPartitions `kafka:"min=v0,max=v1"`
}

type deletedPartitions struct {
	Partition    int32 `kafka:"min=v0,max=v1"`
	LowWatermark int64 `kafka:"min=v0,max=v1"`
	ErrorCode    int16 `kafka:"min=v0,max=v1"`
}

// ApiKey implements protocol.Message.
func (*deleteRecordsRequest) ApiKey() protocol.ApiKey { return protocol.DeleteRecords }

// ApiKey implements protocol.Message.
func (*deleteRecordsResponse) ApiKey() protocol.ApiKey { return protocol.DeleteRecords }

// Broker implements protocol.BrokerMessage: records are deleted by the partition's leader. Requests name one partition.
func (r *deleteRecordsRequest) Broker(c protocol.Cluster) (protocol.Broker, error) {
	return leader(c, r.Topics[0].Name, r.Topics[0].Partitions[0].Partition)
}

func leader(c protocol.Cluster, topic string, partition int32) (protocol.Broker, error) {
	none := protocol.Broker{ID: -1}
	t, ok := c.Topics[topic]
	if !ok {
		return none, protocol.NewErrNoTopic(topic)
	}
	p, ok := t.Partitions[partition]
	if !ok {
		return none, protocol.NewErrNoPartition(topic, partition)
	}
	b, ok := c.Brokers[p.Leader]
	if !ok {
		return none, protocol.NewErrNoLeader(topic, partition)
	}
	return b, nil
}

var (
	_ protocol.BrokerMessage = (*fetchRequest)(nil)
	_ protocol.BrokerMessage = (*deleteRecordsRequest)(nil)
)
