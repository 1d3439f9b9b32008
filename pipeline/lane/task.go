package lane

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/plantloom/plantloom/pipeline/kafka"
)

const (
	// grace is what requests under way get when Run is told to end; Run returns within a second.
	grace = 700 * time.Millisecond
	// commitEvery is the time between commits of the group's offset. It is a hint for restarts and for people: what
	// was delivered is in the receipts.
	commitEvery = time.Second
	// maxOpen, maxOpenBytes and maxSpan bound what one partition keeps in memory: events not done, their size, and how
	// far the newest may be ahead of the oldest.
	maxOpen      = 4000
	maxOpenBytes = 32 << 20
	maxSpan      = 50_000
	// fetchBytes bounds what waits in front of that, compressed.
	fetchBytes = 256 << 10
	// receiptsFor is how long finished effects are remembered: the longest replay horizon (R2). Others stay.
	receiptsFor = 35 * 24 * time.Hour
	expireEvery = 24 * time.Hour
)

// task delivers one partition of one event topic. It is its only deliverer: the transactional id sees to that.
type task struct {
	d        *delivery
	topic    string // full names
	receipts string
	hold     string
	group    string
	part     int32
	journal  *journal
	fetcher  *kafka.Fetcher

	g    *errgroup.Group
	fail sync.Once
	why  error           // the first failure
	soft context.Context // ends when no new request may begin
	hard context.Context // ends when requests under way are given up
	kill context.CancelFunc

	mu        sync.Mutex
	effects   map[string]*effect
	lanes     map[string]*line
	win       window
	bytes     int
	room      chan struct{} // something was done
	watch     chan struct{} // something waits for a person
	waiting   int           // effects of this task that wait for a person
	watchFrom int64         // where the receipts must be read for decisions
	committed int64
}

// line is a lane that has events, or that has moved to the hold topic.
type line struct {
	name    string
	queue   []*work
	running bool          // a goroutine serves it
	held    bool          // its first event waits for a person
	move    chan struct{} // asks a held lane to move aside
	decided chan struct{} // a person has decided
	moved   bool          // its events go to the hold topic
	release bool          // nothing blocks the hold topic's events of this lane any more
	behind  int           // events in the hold topic behind the held one
}

func newLine(name string) *line {
	return &line{name: name, move: make(chan struct{}, 1), decided: make(chan struct{}, 1)}
}

func (d *delivery) newTask(events string, part int32) *task {
	c := d.o.Client
	return &task{
		d: d, part: part, topic: c.Topic(events), receipts: c.Topic(kafka.ReceiptTopic(d.o.Sink, events)),
		hold: c.Topic(kafka.HoldTopic(d.o.Sink)), group: c.Topic("deliver." + d.o.Sink), effects: map[string]*effect{},
		lanes: map[string]*line{}, room: make(chan struct{}, 1), watch: make(chan struct{}, 1),
	}
}

func (d *delivery) runTask(ctx context.Context, events string, part int32) error {
	t, err := d.openTask(ctx, events, part)
	if err != nil {
		return err
	}
	d.report()
	return t.run(ctx)
}

// openTask fences older owners first and reads only then what they did (R2).
func (d *delivery) openTask(ctx context.Context, events string, part int32) (*task, error) {
	t := d.newTask(events, part)
	txn, err := d.o.Client.OpenTxn(ctx, d.o.Client.Topic(fmt.Sprintf("deliver.%s.%s.%d", d.o.Sink, events, part)))
	if err != nil {
		return nil, err
	}
	t.journal = newJournal(txn)
	return t, t.restore(ctx)
}

// run starts the task's goroutines and waits for them.
func (t *task) run(ctx context.Context) error {
	t.hard, t.kill = context.WithCancel(context.WithoutCancel(ctx))
	defer t.kill()
	t.g, t.soft = errgroup.WithContext(ctx)
	late := context.AfterFunc(ctx, func() {
		if sleep(t.hard, grace) == nil {
			t.kill()
		}
	})
	defer late()
	journal := make(chan struct{})
	go func() {
		defer close(journal)
		_ = t.journal.run(t.hard) // the lanes that wait get its error too
	}()
	t.resumeMoved() // before fetch: the first event of a moved lane must find it so
	t.spawn(t.expire)
	t.spawn(t.fetch)
	t.spawn(t.commitLoop)
	t.spawn(t.watchDecisions)
	_ = t.g.Wait() // t.why is the first failure; what it made others return is not
	if t.hard.Err() == nil {
		t.commitOffset(t.hard)
	}
	t.kill()
	<-journal
	t.forget()
	return t.why
}

// spawn runs f as part of the task. The first error ends the task at once: nothing may be sent in its name any more.
func (t *task) spawn(f func() error) {
	t.g.Go(func() error {
		err := f()
		if err == nil || (isEnd(err) && (t.soft.Err() != nil || t.hard.Err() != nil)) {
			return nil
		}
		t.fail.Do(func() { t.why = err })
		t.kill()
		return err
	})
}

func isEnd(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// restore reads the receipts and finds the position.
func (t *task) restore(ctx context.Context) error {
	c := t.d.o.Client
	next, err := c.ReadAll(ctx, t.receipts, t.part, 0, t.load)
	if err != nil {
		return fmt.Errorf("reading receipts: %w", err)
	}
	t.watchFrom = next
	from, ok, err := c.CommittedOffset(ctx, t.group, t.topic, t.part)
	if err != nil {
		return err
	}
	if !ok {
		start, _, err := c.Offsets(ctx, t.topic, t.part)
		if err != nil {
			return err
		}
		from = start
	}
	t.win.next, t.committed = from, from
	t.fetcher = c.NewFetcher(t.topic, t.part, from, kafka.FetchOptions{MaxBytes: fetchBytes})
	return nil
}

// start makes sure that a goroutine serves the lane; t.mu is held.
func (t *task) start(l *line) {
	if !l.running {
		l.running = true
		t.spawn(func() error { return t.serve(l) })
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (t *task) commitLoop() error {
	for sleep(t.soft, t.d.o.commitEvery) == nil {
		t.commitOffset(t.soft)
	}
	return nil
}

// commitOffset stores the lowest offset whose predecessors are all done.
func (t *task) commitOffset(ctx context.Context) {
	t.mu.Lock()
	low, was := t.win.low(), t.committed
	t.mu.Unlock()
	if low == was {
		return
	}
	if err := t.d.o.Client.CommitOffset(ctx, t.group, t.topic, t.part, low); err != nil {
		if ctx.Err() == nil {
			t.d.o.Log.Warn("the position of a sink could not be committed; a restart reads more again and delivers nothing twice", "sink", t.d.o.Sink, "topic", t.topic, "partition", t.part, "err", err)
		}
		return
	}
	t.mu.Lock()
	t.committed = low
	t.mu.Unlock()
}

// crash is a point where tests let the process die.
func (t *task) crash(point string) error { return t.d.o.point(point) }
