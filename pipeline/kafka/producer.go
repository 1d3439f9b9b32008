package kafka

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	kgo "github.com/segmentio/kafka-go"
)

// ProducerOptions are a producer's settings. The zero value is the default.
type ProducerOptions struct {
	Compression Compression
}

// Producer writes records durably and in order: idempotent, acknowledged by all in-sync replicas, one batch in flight
// per partition, so that no record overtakes another. It is safe for many goroutines.
//
// Batches form by themselves: while one is under way the next grows, and a lone caller never waits.
type Producer struct {
	c       *Client
	o       ProducerOptions
	mu      sync.Mutex
	lines   map[tp]*line
	repeats atomic.Uint64
	trouble atomic.Pointer[error]
}

// line is the queue of one partition. Each has a producer id of its own, so that a reset concerns it alone.
type line struct {
	p    *Producer
	to   tp
	mu   sync.Mutex
	wait []*item
	busy bool // a goroutine is sending

	// The rest belongs to the sending goroutine.
	id  producerID
	has bool
	seq int32 // of the next record
}

type item struct {
	rec  *Record
	call *call
	at   int // index in the call
}

// call is one Produce under way.
type call struct {
	ctx     context.Context // of the caller: its records leave the queue when it ends
	offsets []int64
	left    atomic.Int64
	failed  atomic.Pointer[error]
	done    chan struct{}
}

// finish records the fate of one record; the last one wakes the caller.
func (k *call) finish(at int, offset int64, err error) {
	if err != nil {
		k.failed.CompareAndSwap(nil, &err)
	} else {
		k.offsets[at] = offset
	}
	if k.left.Add(-1) == 0 {
		close(k.done)
	}
}

// NewProducer returns a producer. It needs no closing; the client's Close ends it.
func (c *Client) NewProducer(o ProducerOptions) *Producer {
	return &Producer{c: c, o: o, lines: map[tp]*line{}}
}

// PossibleDuplicates counts records that were sent again after the broker had forgotten this producer: each of them
// may stand in the log twice. Lost acknowledgements alone cause none.
func (p *Producer) PossibleDuplicates() uint64 { return p.repeats.Load() }

// Trouble returns why records are not getting through at present, nil when they are.
func (p *Producer) Trouble() error {
	if e := p.trouble.Load(); e != nil {
		return *e
	}
	return nil
}

// Produce returns when all of recs are durable, with their offsets (-1 where the broker no longer knows it). It lasts
// as long as the outage; an error is the end of ctx, when records may or may not be written, a *TooLarge with nothing
// sent, or a refusal that no retry mends. The records' memory must stay unchanged until it returns, and after the end
// of ctx until the client closes.
func (p *Producer) Produce(ctx context.Context, recs []Record) ([]int64, error) {
	if len(recs) == 0 {
		return nil, nil
	}
	if err := fits(recs); err != nil {
		return nil, err
	}
	parts, err := p.c.place(ctx, recs)
	if err != nil {
		return nil, err
	}
	k := &call{ctx: ctx, offsets: make([]int64, len(recs)), done: make(chan struct{})}
	k.left.Store(int64(len(recs)))
	p.enqueue(k, recs, parts)
	select {
	case <-k.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.c.ctx.Done():
		return nil, errClosed
	}
	if e := k.failed.Load(); e != nil {
		return nil, *e
	}
	return k.offsets, nil
}

func (p *Producer) enqueue(k *call, recs []Record, parts []int32) {
	items := make([]item, len(recs))
	byLine := map[*line][]*item{}
	p.mu.Lock()
	for i := range recs {
		items[i] = item{rec: &recs[i], call: k, at: i}
		to := tp{recs[i].Topic, parts[i]}
		l := p.lines[to]
		if l == nil {
			l = &line{p: p, to: to}
			p.lines[to] = l
		}
		byLine[l] = append(byLine[l], &items[i])
	}
	// The queues are filled under p.mu, so that calls stand in every queue in the same order.
	for l, some := range byLine {
		l.add(some)
	}
	p.mu.Unlock()
}

func (l *line) add(items []*item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wait = append(l.wait, items...)
	if !l.busy {
		l.busy = true
		l.p.c.wg.Add(1)
		go l.drain()
	}
}

// drain sends until the queue is empty. It is the only goroutine of its line.
func (l *line) drain() {
	defer l.p.c.wg.Done()
	for {
		batch := l.take()
		if batch == nil {
			return
		}
		l.deliver(batch)
	}
}

// take removes the next batch from the queue; nil when it is empty, and then the line is no longer busy.
func (l *line) take() []*item {
	l.mu.Lock()
	defer l.mu.Unlock()
	var batch []*item
	size, n := 0, 0
	for _, it := range l.wait {
		if err := it.call.ctx.Err(); err != nil {
			it.call.finish(it.at, 0, err)
			n++
			continue
		}
		s := it.rec.size()
		if len(batch) == maxBatchRecords || (len(batch) > 0 && size+s > maxBatch) {
			break
		}
		batch, size, n = append(batch, it), size+s, n+1
	}
	if n == len(l.wait) {
		l.wait = nil
	} else {
		l.wait = l.wait[n:]
	}
	if batch == nil {
		l.busy = false
	}
	return batch
}

// deliver sends a batch until its fate is decided. A batch that the broker finds too large is cut in halves.
func (l *line) deliver(batch []*item) {
	base, err := l.write(batch)
	if err != nil && len(batch) > 1 && code(err) == kgo.MessageSizeTooLarge {
		l.deliver(batch[:len(batch)/2])
		l.deliver(batch[len(batch)/2:])
		return
	}
	if code(err) == kgo.MessageSizeTooLarge {
		r := batch[0].rec
		err = &TooLarge{Topic: r.Topic, Key: string(r.Key), Size: r.size(), Limit: maxRecord}
	}
	for i, it := range batch {
		offset := base
		if base >= 0 {
			offset += int64(i)
		}
		it.call.finish(it.at, offset, err)
	}
}

// write makes a batch durable; an error is fatal or the client's end.
func (l *line) write(batch []*item) (int64, error) {
	recs := make([]*Record, len(batch))
	for i, it := range batch {
		recs[i] = it.rec
	}
	at := l.p.c.cfg.Now().UnixMilli()
	var b backoff
	var raw []byte
	sent := false
	for {
		base, err := int64(0), l.identify(len(recs))
		if err == nil && raw == nil {
			raw, err = encodeBatch(recs, at, l.p.o.Compression, l.id, l.seq)
			if err != nil {
				return 0, fmt.Errorf("encoding a batch for %s: %w", l.to, err)
			}
		}
		if err == nil {
			base, err = l.p.c.send(l.p.c.ctx, "", l.to, raw)
			if err == nil {
				l.seq += int32(len(recs))
				l.p.trouble.Store(nil)
				return base, nil
			}
			if lostSequence(err) {
				if sent { // an earlier try of this batch may be in the log
					l.p.repeats.Add(uint64(len(recs)))
				}
				l.has, raw = false, nil
			}
			sent = true
		}
		if err := l.pause(&b, err); err != nil {
			return 0, fmt.Errorf("writing to %s: %w", l.to, err)
		}
	}
}

// identify makes sure that there is a producer id whose sequence has room for n records.
func (l *line) identify(n int) error {
	if l.has && l.seq <= math.MaxInt32-int32(n)-1 {
		return nil
	}
	id, err := l.p.c.initProducer(l.p.c.ctx, "")
	if err != nil {
		return err
	}
	l.id, l.has, l.seq = id, true, 0
	return nil
}

// pause waits before the next try; it returns an error when there must be none.
func (l *line) pause(b *backoff, err error) error {
	c := l.p.c
	if fatal(err) {
		return err
	}
	if c.ctx.Err() != nil {
		return errClosed
	}
	c.stale(err)
	why := explain(err)
	l.p.trouble.Store(&why)
	if b.loud() {
		c.cfg.Log.Warn("writing to Kafka does not get through; trying again, nothing is lost", "topic", l.to.topic, "partition", l.to.partition, "tries", b.tries, "err", why)
	}
	if err := b.wait(c.ctx); err != nil {
		return errClosed
	}
	return nil
}
