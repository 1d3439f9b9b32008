package uaserver

import "sync"

// queue is an unbounded first-in first-out list between goroutines. Its length
// is bounded by what clients may have outstanding.
type queue[T any] struct {
	mu     sync.Mutex
	ready  *sync.Cond
	items  []T
	closed bool
}

func newQueue[T any]() *queue[T] {
	q := &queue[T]{}
	q.ready = sync.NewCond(&q.mu)
	return q
}

// put appends v; it is dropped when the queue is closed.
func (q *queue[T]) put(v T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.items = append(q.items, v)
	q.ready.Signal()
}

// take waits for the next item; ok is false once the queue is closed.
func (q *queue[T]) take() (v T, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 && !q.closed {
		q.ready.Wait()
	}
	if q.closed {
		return v, false
	}
	v = q.items[0]
	q.items = q.items[1:]
	return v, true
}

func (q *queue[T]) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.items = nil
	q.ready.Broadcast()
}
