package broker

import (
	"hash/crc32"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// rawBatch is a batch of one record whose producer fields the test chooses.
type rawBatch struct {
	id       string // transactional, "" for none
	producer int64
	epoch    int16
	seq      int32
	value    string
}

// encode returns the batch in format 2 with a valid checksum.
func (r rawBatch) encode() []byte {
	rec := kmsg.Record{Value: []byte(r.value)}
	rec.Length = int32(len(rec.AppendTo(nil)) - 1) // the length itself takes one byte
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2,
		FirstTimestamp: 1, MaxTimestamp: 1,
		ProducerID: r.producer, ProducerEpoch: r.epoch, FirstSequence: r.seq,
		NumRecords: 1, Records: rec.AppendTo(nil),
	}
	if r.id != "" {
		b.Attributes = attrTxn
	}
	raw := b.AppendTo(nil)
	b.Length = int32(len(raw) - lengthEnd)
	b.CRC = int32(crc32.Checksum(b.AppendTo(nil)[crcFrom:], crc32.MakeTable(crc32.Castagnoli)))
	return b.AppendTo(nil)
}

// produceRaw sends the batch to partition 0 of topic "t".
func produceRaw(t *testing.T, addr string, r rawBatch) kmsg.ProduceResponseTopicPartition {
	t.Helper()
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = r.encode()
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.Partitions = "t", append(topic.Partitions, p)
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis, req.Topics = -1, 1000, append(req.Topics, topic)
	if r.id != "" {
		req.TransactionID = &r.id
	}
	resp, err := req.RequestWith(t.Context(), client(t, addr))
	if err != nil {
		t.Fatal(err)
	}
	return resp.Topics[0].Partitions[0]
}

// produceAs sends one transactional record as the given producer and returns
// the error code.
func produceAs(t *testing.T, addr, id string, producer int64, epoch int16) int16 {
	t.Helper()
	return produceRaw(t, addr, rawBatch{id: id, producer: producer, epoch: epoch, value: "zombie"}).ErrorCode
}

// endAs commits a transaction as the given producer and returns the error code.
func endAs(t *testing.T, addr, id string, producer int64, epoch int16) int16 {
	t.Helper()
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = id, producer, epoch, true
	resp, err := req.RequestWith(t.Context(), client(t, addr))
	if err != nil {
		t.Fatal(err)
	}
	return resp.ErrorCode
}

// initProducer returns the id and epoch of a new idempotent producer.
func initProducer(t *testing.T, addr string) (int64, int16) {
	t.Helper()
	resp, err := kmsg.NewPtrInitProducerIDRequest().RequestWith(t.Context(), client(t, addr))
	if err != nil {
		t.Fatal(err)
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		t.Fatal(err)
	}
	return resp.ProducerID, resp.ProducerEpoch
}
