package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"
	"github.com/segmentio/kafka-go/protocol/offsetfetch"
)

// The timestamps that ListOffsets takes for the two ends of a log.
const (
	logStart = -2
	logEnd   = -1
)

const readCommitted = 1

// Offsets returns the first offset of a partition and its last stable one: everything before end is decided, by
// commit or abort.
func (c *Client) Offsets(ctx context.Context, topic string, partition int32) (start, end int64, err error) {
	err = c.retry(ctx, "listing offsets of "+topic, func(ctx context.Context) error {
		if start, err = c.listOffset(ctx, topic, partition, logStart); err != nil {
			return err
		}
		end, err = c.listOffset(ctx, topic, partition, logEnd)
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("listing offsets of %s/%d: %w", topic, partition, err)
	}
	return start, end, nil
}

func (c *Client) listOffset(ctx context.Context, topic string, partition int32, at int64) (int64, error) {
	res, err := c.roundTrip(ctx, &listoffsets.Request{
		ReplicaID: -1, IsolationLevel: readCommitted,
		Topics: []listoffsets.RequestTopic{{Topic: topic, Partitions: []listoffsets.RequestPartition{{
			Partition: partition, CurrentLeaderEpoch: -1, Timestamp: at,
		}}}},
	})
	if err != nil {
		return 0, err
	}
	for _, t := range res.(*listoffsets.Response).Topics {
		for _, p := range t.Partitions {
			if t.Topic == topic && p.Partition == partition {
				return p.Offset, codeError(p.ErrorCode)
			}
		}
	}
	return 0, errNoAnswer
}

// errNoAnswer says that an answer does not mention what was asked for; it is tried again.
var errNoAnswer = errors.New("the broker's answer leaves out the partition")

// CommitOffset stores a group's position as a consumer without membership (generation -1). Where positions must be
// exact they live in a marker or in receipts; the group's offset is what people and tools look at.
func (c *Client) CommitOffset(ctx context.Context, group, topic string, partition int32, offset int64) error {
	err := c.retry(ctx, "committing an offset of "+group, func(ctx context.Context) error {
		res, err := c.roundTrip(ctx, &offsetcommit.Request{
			GroupID: group, GenerationID: -1, RetentionTimeMs: -1,
			Topics: []offsetcommit.RequestTopic{{Name: topic, Partitions: []offsetcommit.RequestPartition{{
				PartitionIndex: partition, CommittedOffset: offset, CommittedLeaderEpoch: -1,
			}}}},
		})
		if err != nil {
			return err
		}
		for _, t := range res.(*offsetcommit.Response).Topics {
			for _, p := range t.Partitions {
				return codeError(p.ErrorCode)
			}
		}
		return errNoAnswer
	})
	if err != nil {
		return fmt.Errorf("committing offset %d of %s/%d for group %s: %w", offset, topic, partition, group, err)
	}
	return nil
}

// groupNotFound is GROUP_ID_NOT_FOUND: some brokers answer so for a group that has never committed.
const groupNotFound = 69

// CommittedOffset returns a group's stored position, false when there is none.
func (c *Client) CommittedOffset(ctx context.Context, group, topic string, partition int32) (int64, bool, error) {
	offset := int64(-1)
	err := c.retry(ctx, "reading an offset of "+group, func(ctx context.Context) error {
		res, err := c.roundTrip(ctx, &offsetfetch.Request{
			GroupID: group, Topics: []offsetfetch.RequestTopic{{Name: topic, PartitionIndexes: []int32{partition}}},
		})
		if err != nil {
			return err
		}
		r := res.(*offsetfetch.Response)
		if r.ErrorCode == groupNotFound {
			return nil
		}
		if r.ErrorCode != 0 {
			return codeError(r.ErrorCode)
		}
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				offset = p.CommittedOffset
				return codeError(p.ErrorCode)
			}
		}
		return errNoAnswer
	})
	if err != nil {
		return 0, false, fmt.Errorf("reading the offset of %s/%d for group %s: %w", topic, partition, group, err)
	}
	return offset, offset >= 0, nil
}

// DeleteRecords deletes the records before an offset. Deleting up to the end empties the partition, which on the
// embedded broker may reset its offsets: callers there keep at least one record (R9).
func (c *Client) DeleteRecords(ctx context.Context, topic string, partition int32, before int64) error {
	err := c.retry(ctx, "deleting records of "+topic, func(ctx context.Context) error {
		res, err := c.roundTrip(ctx, &deleteRecordsRequest{
			Topics:    []deleteTopic{{Name: topic, Partitions: []deletePartition{{Partition: partition, Offset: before}}}},
			TimeoutMs: int32(requestTimeout.Milliseconds() / 2),
		})
		if err != nil {
			return err
		}
		topics := res.(*deleteRecordsResponse).Topics
		if len(topics) != 1 || len(topics[0].Partitions) != 1 {
			return errNoAnswer
		}
		err = codeError(topics[0].Partitions[0].ErrorCode)
		if isOutOfRange(err) {
			return &permanent{err}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("deleting records of %s/%d before %d: %w", topic, partition, before, err)
	}
	return nil
}

// ReadAll calls fn for every committed record from an offset up to the end at the time of the call, and returns the
// offset behind the last one. from may lie before the first record. It stops at fn's first error.
func (c *Client) ReadAll(ctx context.Context, topic string, partition int32, from int64, fn func(Record) error) (next int64, err error) {
	start, end, err := c.Offsets(ctx, topic, partition)
	if err != nil {
		return from, err
	}
	from = max(from, start)
	f := c.NewFetcher(topic, partition, from, FetchOptions{MaxBytes: 4 << 20})
	for f.Position() < end {
		recs, err := f.Fetch(ctx)
		if err != nil {
			return f.Position(), err
		}
		for _, r := range recs {
			if r.Offset >= end {
				return r.Offset, nil
			}
			if err := fn(r); err != nil {
				return r.Offset, err
			}
		}
	}
	return f.Position(), nil
}
