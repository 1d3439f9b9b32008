package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// cursorHeader is the metadata of a StreamEvents answer in which its first cursor stands: a client that was cut off
// before the first event resumes there.
const cursorHeader = "plantloom-cursor"

// StreamEvents implements EventService.
func (s *server) StreamEvents(r *gatewayv1.StreamEventsRequest, stream grpc.ServerStreamingServer[gatewayv1.StreamEventsResponse]) error {
	e, err := s.openEvents(stream.Context(), r)
	if err != nil {
		return err
	}
	defer e.close()
	if err := stream.SendHeader(metadata.Pairs(cursorHeader, e.at.encode())); err != nil {
		return err
	}
	return e.run(stream.Context(), stream.Send, nil)
}

// eventStream is one client's way through the event topics. It belongs to one goroutine.
type eventStream struct {
	s        *server
	f        filter
	at       cursor
	fetchers []*kafka.Fetcher // one for each partition that the filter reads
	batches  chan fetched     // unbuffered: what the client does not take stays in Kafka
	leave    func()
}

// maxLookBack bounds look_back: a page that shows the latest events needs few.
const maxLookBack = 1000

// openEvents checks the request and finds where the stream begins. The caller closes the stream.
func (s *server) openEvents(ctx context.Context, r *gatewayv1.StreamEventsRequest) (*eventStream, error) {
	if n := r.GetLookBack(); n < 0 || n > maxLookBack {
		return nil, badField("look_back", fmt.Sprintf("%d is not a number from 0 to %d", n, maxLookBack))
	}
	f, err := newFilter(r.GetFilter())
	if err != nil {
		return nil, err
	}
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	at, err := s.startOf(ctx, f, r)
	if err != nil {
		leave()
		return nil, err
	}
	e := &eventStream{s: s, f: f, at: at, batches: make(chan fetched), leave: leave}
	for _, p := range e.parts() {
		e.fetchers = append(e.fetchers, s.o.Client.NewFetcher(s.o.Client.Topic(p.topic.topic), p.n, at.Next[p.key], kafka.FetchOptions{MaxBytes: streamBytes}))
	}
	return e, nil
}

func (e *eventStream) close() { e.leave() }

// enter takes one of the places for streams; leave gives it back.
func (s *server) enter() (leave func(), err error) {
	select {
	case s.streams <- struct{}{}:
		return func() { <-s.streams }, nil
	default:
		return nil, fail(codes.ResourceExhausted, "TOO_MANY_STREAMS", fmt.Sprintf("%d streams are open, that is the limit; close some, or read one for all", cap(s.streams)), nil)
	}
}

// streamBytes bounds a fetch of a stream: with every partition's fetch at hand a stream holds a few MiB, however slow
// its client is.
const streamBytes = 128 << 10

// streamPart is one partition of a stream; key names it in cursors.
type streamPart struct {
	topic streamTopic
	n     int32
	key   string
}

// parts are the partitions that the stream reads, in the order of its fetchers.
func (e *eventStream) parts() []streamPart {
	var all []streamPart
	for _, t := range e.f.topics() {
		for p := range e.s.o.Partitions {
			all = append(all, streamPart{t, int32(p), t.key(p)})
		}
	}
	return all
}

// fetched is what one partition gave.
type fetched struct {
	streamPart
	recs []kafka.Record
	err  error
}

// run sends events until ctx ends. Every partition is read in order; partitions mix as they come. idle, when not nil,
// is called at every tick with the newest cursor, which moves over events that the filter leaves out too.
func (e *eventStream) run(ctx context.Context, send func(*gatewayv1.StreamEventsResponse) error, idle func(cursor) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel()
	for i, p := range e.parts() {
		readers.Go(func() { read(ctx, e.fetchers[i], fetched{streamPart: p}, e.batches) })
	}
	tick := time.NewTicker(e.s.o.limits.tick)
	defer tick.Stop()
	away := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case b := <-e.batches:
			if err := e.take(ctx, b, send); err != nil {
				return err
			}
		case <-tick.C:
			why := trouble(e.fetchers)
			if away += e.s.o.limits.tick; why == nil {
				away = 0
			}
			if away > e.s.o.limits.patience {
				return kafkaAway(why)
			}
			if idle != nil {
				if err := idle(e.at); err != nil {
					return err
				}
			}
		}
	}
}

// take sends what one partition gave.
func (e *eventStream) take(ctx context.Context, b fetched, send func(*gatewayv1.StreamEventsResponse) error) error {
	if b.err != nil {
		return e.broken(ctx, b)
	}
	for _, r := range b.recs {
		e.at.Next[b.key] = r.Offset + 1
		res, err := e.f.response(b.topic, r)
		if err != nil {
			return e.unreadable(fmt.Sprintf("the event at %s/%d offset %d cannot be decoded: %v", r.Topic, r.Partition, r.Offset, err))
		}
		if res == nil {
			continue
		}
		res.Cursor = e.at.encode()
		if err := send(res); err != nil {
			return err
		}
	}
	return nil
}

// broken makes the stream's error of a partition's.
func (e *eventStream) broken(ctx context.Context, b fetched) error {
	var gone *kafka.OutOfRange
	var bad *kafka.Unreadable
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.As(b.err, &gone):
		oldest, err := e.s.startOf(ctx, e.f, &gatewayv1.StreamEventsRequest{FromStart: true})
		if err != nil {
			return err
		}
		return cursorGone(oldest)
	case errors.As(b.err, &bad):
		e.at.Next[b.key] = bad.Next
		return e.unreadable(bad.Error())
	}
	return kafkaAway(b.err)
}

// unreadable ends the stream, because a client that must see every event has to know. The cursor behind it is given.
func (e *eventStream) unreadable(what string) error {
	return fail(codes.DataLoss, "EVENT_UNREADABLE", what+"; go on from metadata next_cursor", map[string]string{"next_cursor": e.at.encode()})
}

func kafkaAway(err error) error {
	return fail(codes.Unavailable, "KAFKA_AWAY", fmt.Sprintf("the event topics cannot be read, try again later with the newest cursor: %v", err), nil)
}

func trouble(fetchers []*kafka.Fetcher) error {
	for _, f := range fetchers {
		if err := f.Trouble(); err != nil {
			return err
		}
	}
	return nil
}

// read hands over one partition's records until ctx ends or the fetcher has a final error.
func read(ctx context.Context, fetcher *kafka.Fetcher, as fetched, to chan<- fetched) {
	for ctx.Err() == nil {
		as.recs, as.err = fetcher.Fetch(ctx)
		if len(as.recs) == 0 && as.err == nil {
			continue
		}
		select {
		case to <- as:
		case <-ctx.Done():
		}
		if as.err != nil {
			return
		}
	}
}
