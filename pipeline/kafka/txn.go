package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/segmentio/kafka-go/protocol/addpartitionstotxn"
	"github.com/segmentio/kafka-go/protocol/endtxn"
)

const (
	// txnTimeout is how long the broker waits for a producer that has died inside a transaction. Readers of its
	// partitions wait as long, unless the transactional id is opened again before.
	txnTimeout = 30 * time.Second
	// abortWithin bounds the courtesy of aborting what failed.
	abortWithin = 500 * time.Millisecond
	// txnWriters bounds the partitions that one transaction writes at the same time.
	txnWriters = 8
)

// Txn writes records in transactions, as the one owner of its id. It is safe for many goroutines; commits come one
// after the other.
type Txn struct {
	c     *Client
	id    string
	owner producerID

	mu    sync.Mutex
	seq   map[tp]int32
	spent error // why nothing more can be done with this Txn
}

// OpenTxn makes the caller the owner of a transactional id: every older owner is fenced, and what it had not committed
// is aborted before OpenTxn returns. So state that is read afterwards is complete (R6).
func (c *Client) OpenTxn(ctx context.Context, id string) (*Txn, error) {
	t := &Txn{c: c, id: id, seq: map[tp]int32{}}
	err := c.retry(ctx, "opening transactional id "+id, func(ctx context.Context) (err error) {
		t.owner, err = c.initProducer(ctx, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening transactional id %s: %w", id, err)
	}
	return t, nil
}

// ID returns the transactional id.
func (t *Txn) ID() string { return t.id }

// Epoch rises with every OpenTxn of the same id, until the broker gives a new producer id.
func (t *Txn) Epoch() int64 { return int64(t.owner.epoch) }

// Commit writes recs all or nothing and returns their offsets. It lasts as long as the outage. ErrFenced and ErrSpent
// mean that the id must be opened again and the state be read: with ErrFenced, and with ErrSpent after the end of ctx
// or a restart of the broker, the records may or may not be committed. A *TooLarge leaves the Txn as it was.
func (t *Txn) Commit(ctx context.Context, recs []Record) ([]int64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.spent != nil {
		return nil, t.spent
	}
	if len(recs) == 0 {
		return nil, nil
	}
	if err := fits(recs); err != nil {
		return nil, err
	}
	parts, err := t.c.place(ctx, recs)
	if err != nil {
		return nil, err
	}
	offsets, err := t.commit(ctx, recs, parts)
	if err != nil {
		return nil, t.spend(err)
	}
	return offsets, nil
}

// Step commits outputs and the marker that covers them (R5). On a cluster they are one transaction. On the embedded
// broker, whose crash inside a commit can leave half of it, the outputs are committed before the marker, whose records
// must go to one partition: after a crash the step may be done again, never be lost. Errors are those of Commit.
func (t *Txn) Step(ctx context.Context, outputs []Record, marker []Record) error {
	if !t.c.cfg.Embedded {
		_, err := t.Commit(ctx, append(append(make([]Record, 0, len(outputs)+len(marker)), outputs...), marker...))
		return err
	}
	if _, err := t.Commit(ctx, outputs); err != nil {
		return err
	}
	_, err := t.Commit(ctx, marker)
	return err
}

// spend makes err the answer of every later call.
func (t *Txn) spend(err error) error {
	switch {
	case fenced(err):
		t.spent = fmt.Errorf("%s: %w (%v)", t.id, ErrFenced, err)
	default:
		t.spent = fmt.Errorf("%s: %w: %w", t.id, ErrSpent, err)
	}
	return t.spent
}

func (t *Txn) commit(ctx context.Context, recs []Record, parts []int32) ([]int64, error) {
	byPart := map[tp][]int{}
	var order []tp
	for i := range recs {
		to := tp{recs[i].Topic, parts[i]}
		if byPart[to] == nil {
			order = append(order, to)
		}
		byPart[to] = append(byPart[to], i)
	}
	if err := t.register(ctx, order); err != nil {
		t.abort()
		return nil, fmt.Errorf("adding partitions to a transaction: %w", err)
	}
	offsets := make([]int64, len(recs))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(txnWriters)
	at := t.c.cfg.Now().UnixMilli()
	next := make([]int32, len(order))
	for n, to := range order {
		seq := t.seq[to]
		g.Go(func() (err error) {
			next[n], err = t.write(gctx, to, recs, byPart[to], at, seq, offsets)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.abort()
		return nil, err
	}
	for n, to := range order {
		t.seq[to] = next[n]
	}
	return offsets, t.end(ctx)
}

// register tells the coordinator which partitions the transaction writes.
func (t *Txn) register(ctx context.Context, parts []tp) error {
	req := &addpartitionstotxn.Request{TransactionalID: t.id, ProducerID: t.owner.id, ProducerEpoch: t.owner.epoch}
	at := map[string]int{}
	for _, p := range parts {
		i, ok := at[p.topic]
		if !ok {
			i = len(req.Topics)
			at[p.topic] = i
			req.Topics = append(req.Topics, addpartitionstotxn.RequestTopic{Name: p.topic})
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p.partition)
	}
	return t.retry(ctx, "starting a transaction of "+t.id, func(ctx context.Context) error {
		m, err := t.c.roundTrip(ctx, req)
		if err != nil {
			return err
		}
		n := 0
		for _, r := range m.(*addpartitionstotxn.Response).Results {
			for _, p := range r.Results {
				if n++; p.ErrorCode != 0 && p.ErrorCode != notAttempted {
					return codeError(p.ErrorCode)
				}
			}
		}
		if n < len(parts) {
			return errNoAnswer
		}
		return nil
	})
}

// notAttempted is OPERATION_NOT_ATTEMPTED: another partition of the request has the reason.
const notAttempted = 55

// write appends the records with these indexes to one partition, batch by batch, and returns the next sequence.
func (t *Txn) write(ctx context.Context, to tp, recs []Record, index []int, at int64, seq int32, offsets []int64) (int32, error) {
	for len(index) > 0 {
		var batch []*Record
		size := 0
		for _, i := range index {
			s := recs[i].size()
			if len(batch) == maxBatchRecords || (len(batch) > 0 && size+s > maxBatch) {
				break
			}
			batch, size = append(batch, &recs[i]), size+s
		}
		if seq > math.MaxInt32-int32(len(batch))-1 {
			return seq, errors.New("the sequence numbers of a partition are used up")
		}
		raw, err := encodeBatch(batch, at, LZ4, t.owner, seq)
		if err != nil {
			return seq, fmt.Errorf("encoding a batch for %s: %w", to, err)
		}
		var base int64
		err = t.retry(ctx, "writing to "+to.topic, func(ctx context.Context) (err error) {
			base, err = t.c.send(ctx, t.id, to, raw)
			return err
		})
		if err != nil {
			return seq, fmt.Errorf("writing to %s: %w", to, err)
		}
		for k := range batch {
			offsets[index[k]] = base + int64(k)
		}
		index = index[len(batch):]
		seq += int32(len(batch))
	}
	return seq, nil
}

// end commits. Once it was asked for, the same question is repeated until the coordinator says what became of it: a
// commit that has happened is confirmed, one that has not is done, and an abort is never taken for a success.
func (t *Txn) end(ctx context.Context) error {
	err := t.retry(ctx, "committing a transaction of "+t.id, func(ctx context.Context) error {
		return t.endOnce(ctx, true)
	})
	if err != nil {
		return fmt.Errorf("committing a transaction: %w", err)
	}
	return nil
}

func (t *Txn) endOnce(ctx context.Context, commit bool) error {
	m, err := t.c.roundTrip(ctx, &endtxn.Request{
		TransactionalID: t.id, ProducerID: t.owner.id, ProducerEpoch: t.owner.epoch, Committed: commit,
	})
	if err != nil {
		return err
	}
	return codeError(m.(*endtxn.Response).ErrorCode)
}

// abort frees readers of the partitions early; without it they wait until the id is opened again or times out.
func (t *Txn) abort() {
	ctx, cancel := context.WithTimeout(t.c.ctx, abortWithin)
	defer cancel()
	if err := t.endOnce(ctx, false); err != nil && !fenced(err) {
		t.c.cfg.Log.Debug("a failed transaction was not aborted; it will be when its id is opened again", "id", t.id, "err", err)
	}
}

// retry tries again what an outage stopped. Answers after which the sequence or the ownership is in doubt end it:
// there is no way on inside this Txn. It never asks for a new epoch by itself, because that would fence a newer owner.
func (t *Txn) retry(ctx context.Context, what string, fn func(context.Context) error) error {
	return t.c.retry(ctx, what, func(ctx context.Context) error {
		err := fn(ctx)
		if fenced(err) || lostSequence(err) {
			return &permanent{err}
		}
		return err
	})
}
