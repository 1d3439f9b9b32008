package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// FetchOptions bound a fetch. Zero values are the defaults.
type FetchOptions struct {
	MaxBytes int           // compressed bytes of one fetch, default 1 MiB; a larger batch still comes whole
	MaxWait  time.Duration // how long the broker waits for data, default and at most 500 ms
	// Uncommitted also returns records of transactions that are open or aborted.
	Uncommitted bool
}

// maxWait also bounds how long a connection lingers after its caller has gone.
const maxWait = 500 * time.Millisecond

// Fetcher reads one partition in order. One goroutine calls Fetch; Position and Trouble may be called by any.
type Fetcher struct {
	c         *Client
	topic     string
	partition int32
	o         FetchOptions
	next      atomic.Int64
	trouble   atomic.Pointer[error]
}

// NewFetcher returns a fetcher that begins at an offset. It holds no resources between calls.
func (c *Client) NewFetcher(topic string, partition int32, offset int64, o FetchOptions) *Fetcher {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 1 << 20
	}
	if o.MaxWait <= 0 || o.MaxWait > maxWait {
		o.MaxWait = maxWait
	}
	f := &Fetcher{c: c, topic: topic, partition: partition, o: o}
	f.next.Store(offset)
	return f
}

// Position is the next offset to read; it moves over control records and aborted ones too.
func (f *Fetcher) Position() int64 { return f.next.Load() }

// SkipTo sets the next offset, after an *OutOfRange or *Unreadable has been decided.
func (f *Fetcher) SkipTo(offset int64) { f.next.Store(offset) }

// Trouble returns why Fetch is not getting through at present, nil when it is.
func (f *Fetcher) Trouble() error {
	if p := f.trouble.Load(); p != nil {
		return *p
	}
	return nil
}

// Fetch returns the next records, or nil when none came within MaxWait. It outlasts every outage until ctx ends. Other
// errors are *OutOfRange, *Unreadable and refused access; the position stays where it was.
func (f *Fetcher) Fetch(ctx context.Context) ([]Record, error) {
	var recs []Record
	var b backoff
	for {
		var err error
		recs, err = f.once(ctx)
		if err == nil {
			f.trouble.Store(nil)
			return recs, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if isOutOfRange(err) {
			if err = f.outOfRange(ctx); err == nil {
				continue
			}
		}
		why := explain(err)
		f.trouble.Store(&why)
		if final(err) {
			return nil, fmt.Errorf("fetching %s/%d: %w", f.topic, f.partition, err)
		}
		f.c.stale(err)
		if b.loud() {
			f.c.cfg.Log.Warn("reading from Kafka does not get through; trying again", "topic", f.topic, "partition", f.partition, "tries", b.tries, "err", why)
		}
		if err := b.wait(ctx); err != nil {
			return nil, err
		}
	}
}

// final reports errors that waiting does not mend.
func final(err error) bool {
	var gone *OutOfRange
	var bad *Unreadable
	return errors.As(err, &gone) || errors.As(err, &bad) || fatal(err)
}

// outOfRange says where the log is. nil: the offset has become readable meanwhile.
func (f *Fetcher) outOfRange(ctx context.Context) error {
	start, end, err := f.c.Offsets(ctx, f.topic, f.partition)
	if err != nil {
		return err
	}
	at := f.Position()
	if at >= start && at <= end {
		return nil
	}
	return &OutOfRange{Topic: f.topic, Partition: f.partition, Asked: at, Start: start, End: end}
}

func (f *Fetcher) once(ctx context.Context) ([]Record, error) {
	from := f.next.Load()
	req := &fetchRequest{
		ReplicaID: -1, MaxWaitTime: int32(f.o.MaxWait.Milliseconds()), MinBytes: 1, MaxBytes: int32(f.o.MaxBytes),
		SessionEpoch: -1, // no fetch session
		Topics: []fetchTopic{{Topic: f.topic, Partitions: []fetchPartition{{
			Partition: f.partition, CurrentLeaderEpoch: -1, FetchOffset: from, LogStartOffset: -1, PartitionMaxBytes: int32(f.o.MaxBytes),
		}}}},
	}
	if !f.o.Uncommitted {
		req.IsolationLevel = readCommitted
	}
	m, err := f.c.roundTrip(ctx, req)
	if err != nil {
		return nil, err
	}
	res := m.(*fetchResponse)
	if res.ErrorCode != 0 {
		return nil, codeError(res.ErrorCode)
	}
	if len(res.Topics) != 1 || len(res.Topics[0].Partitions) != 1 {
		return nil, errNoAnswer
	}
	p := &res.Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		return nil, codeError(p.ErrorCode)
	}
	d := reader{
		topic: f.topic, partition: f.partition, from: from, next: from, committed: !f.o.Uncommitted,
		aborted: p.AbortedTransactions, budget: maxInflated,
	}
	if err := d.read(p.Records); err != nil {
		return nil, err
	}
	f.next.Store(d.next)
	return d.out, nil
}
