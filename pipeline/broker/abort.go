package broker

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// abort ends, on disk, the transactions that a crash left open. First the
// producer's epoch is raised, so that whoever had the transaction open is
// fenced and cannot commit the rest of it; then an abort marker goes to each
// partition. A crash in between leaves it to the next start. // R6
func (in *inside) abort(ctx context.Context, open map[partition][]int64, log *slog.Logger) error {
	if len(open) == 0 {
		return nil
	}
	ids, err := in.transactionalIDs(ctx)
	if err != nil {
		return err
	}
	epochs := map[int64]int16{}
	for p, producers := range open {
		for _, producer := range producers {
			if _, done := epochs[producer]; !done {
				if epochs[producer], err = in.raiseEpoch(ctx, ids[producer]); err != nil {
					return err
				}
			}
			if err := in.writeAbort(ctx, p, producer, epochs[producer]); err != nil {
				return err
			}
			log.Warn("a transaction that the crash left open is aborted",
				"transactional_id", ids[producer], "topic", p.topic, "partition", p.number)
		}
	}
	return nil
}

// transactionalIDs returns the transactional id of each producer id.
func (in *inside) transactionalIDs(ctx context.Context) (map[int64]string, error) {
	req := kmsg.NewPtrListTransactionsRequest()
	resp, err := in.ask(ctx, req)
	if err != nil {
		return nil, err
	}
	list := resp.(*kmsg.ListTransactionsResponse)
	if err := kerr.ErrorForCode(list.ErrorCode); err != nil {
		return nil, err
	}
	ids := map[int64]string{}
	for _, t := range list.TransactionStates {
		ids[t.ProducerID] = t.TransactionalID
	}
	return ids, nil
}

// raiseEpoch fences the producers of a transactional id and returns the new
// epoch. An id that the broker has forgotten has nobody to fence.
func (in *inside) raiseEpoch(ctx context.Context, id string) (int16, error) {
	if id == "" {
		return 0, nil
	}
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID = &id
	req.TransactionTimeoutMillis = 60_000 // not used: the id keeps its own
	resp, err := in.ask(ctx, req)
	if err != nil {
		return 0, err
	}
	init := resp.(*kmsg.InitProducerIDResponse)
	if err := kerr.ErrorForCode(init.ErrorCode); err != nil {
		return 0, fmt.Errorf("transactional id %s: %w", id, err)
	}
	return init.ProducerEpoch, nil
}

// writeAbort appends an abort marker to one partition.
func (in *inside) writeAbort(ctx context.Context, p partition, producer int64, epoch int16) error {
	t := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
	t.Topic, t.Partitions = p.topic, []int32{p.number}
	m := kmsg.NewWriteTxnMarkersRequestMarker()
	m.ProducerID, m.ProducerEpoch = producer, epoch
	m.Topics = append(m.Topics, t)
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	req.SetVersion(1)
	req.Markers = append(req.Markers, m)
	resp, err := in.ask(ctx, req)
	if err != nil {
		return err
	}
	for _, m := range resp.(*kmsg.WriteTxnMarkersResponse).Markers {
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				err := kerr.ErrorForCode(p.ErrorCode)
				if err != nil && err != error(kerr.UnknownTopicOrPartition) {
					return fmt.Errorf("partition %s-%d: %w", t.Topic, p.Partition, err)
				}
			}
		}
	}
	return nil
}
