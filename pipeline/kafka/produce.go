package kafka

import (
	"bytes"
	"context"
	"fmt"

	kgo "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"
)

const acksAll = -1

// tp is one partition.
type tp struct {
	topic     string
	partition int32
}

func (t tp) String() string { return fmt.Sprintf("%s/%d", t.topic, t.partition) }

// send sends one encoded batch once and returns the offset of its first record, -1 where the broker only says that it
// has the batch already.
func (c *Client) send(ctx context.Context, txnID string, to tp, batch []byte) (int64, error) {
	m, err := c.roundTrip(ctx, &rawproduce.Request{
		TransactionalID: txnID, Acks: acksAll, Timeout: int32(requestTimeout.Milliseconds() * 2 / 3),
		Topics: []rawproduce.RequestTopic{{Topic: to.topic, Partitions: []rawproduce.RequestPartition{{
			Partition: to.partition, RecordSet: protocol.RawRecordSet{Reader: bytes.NewReader(batch)},
		}}}},
	})
	if err != nil {
		return 0, err
	}
	res := m.(*produce.Response)
	if len(res.Topics) != 1 || len(res.Topics[0].Partitions) != 1 {
		return 0, errNoAnswer
	}
	p := &res.Topics[0].Partitions[0]
	err = codeError(p.ErrorCode)
	if code(err) == kgo.DuplicateSequenceNumber {
		return -1, nil
	}
	return p.BaseOffset, err
}

// initProducer asks once for a producer id, for a transactional id or "".
func (c *Client) initProducer(ctx context.Context, txnID string) (producerID, error) {
	m, err := c.roundTrip(ctx, &initproducerid.Request{
		TransactionalID: txnID, TransactionTimeoutMs: int32(txnTimeout.Milliseconds()), ProducerID: -1, ProducerEpoch: -1,
	})
	if err != nil {
		return producerID{}, err
	}
	r := m.(*initproducerid.Response)
	return producerID{id: r.ProducerID, epoch: r.ProducerEpoch, txn: txnID != ""}, codeError(r.ErrorCode)
}
