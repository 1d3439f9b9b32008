package gateway

import (
	"context"
	"fmt"
	"sort"
	"time"

	"google.golang.org/protobuf/proto"

	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// deadLetter is a dead letter and when it was written.
type deadLetter struct {
	at   time.Time
	d    *inboxv1.DeadLetter
	size int
}

// deadBook holds the newest dead letters, bounded in number, size and age; the topics keep more.
type deadBook struct {
	l     limits
	ids   map[string]bool
	list  []deadLetter // the oldest first, then by id
	bytes int
}

func newDeadBook(l limits) *deadBook { return &deadBook{l: l, ids: map[string]bool{}} }

// add takes a letter unless its id is known: a step that was repeated after a crash writes equal letters.
func (b *deadBook) add(n deadLetter) {
	if b.ids[n.d.GetId()] {
		return
	}
	b.ids[n.d.GetId()] = true
	at := sort.Search(len(b.list), func(i int) bool { return n.before(b.list[i]) })
	b.list = append(b.list, deadLetter{})
	copy(b.list[at+1:], b.list[at:])
	b.list[at] = n
	b.bytes += n.size
	oldest := b.list[len(b.list)-1].at.Add(-b.l.deadFor)
	drop := 0
	for drop < len(b.list)-1 && (len(b.list)-drop > b.l.dead || b.bytes > b.l.deadBytes || b.list[drop].at.Before(oldest)) {
		b.bytes -= b.list[drop].size
		delete(b.ids, b.list[drop].d.GetId())
		drop++
	}
	if drop > 0 {
		n := copy(b.list, b.list[drop:])
		clear(b.list[n:])
		b.list = b.list[:n]
	}
}

func (d deadLetter) before(o deadLetter) bool {
	if !d.at.Equal(o.at) {
		return d.at.Before(o.at)
	}
	return d.d.GetId() < o.d.GetId()
}

func (v *views) applyDead(r kafka.Record, _ bool) error {
	d := &inboxv1.DeadLetter{}
	if err := proto.Unmarshal(r.Value, d); err != nil {
		return fmt.Errorf("decoding a dead letter: %w", err)
	}
	if d.GetId() == "" {
		d.Id = fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.dead.add(deadLetter{at: r.Time, d: d, size: len(r.Value)})
	return nil
}

// ListDeadLetters implements StatusService.
func (s *server) ListDeadLetters(_ context.Context, r *gatewayv1.ListDeadLettersRequest) (*gatewayv1.ListDeadLettersResponse, error) {
	p, err := newPage(r.GetPageSize(), r.GetPageToken(), r.GetStage())
	if err != nil {
		return nil, err
	}
	out := &gatewayv1.ListDeadLettersResponse{}
	s.views.mu.RLock()
	defer s.views.mu.RUnlock()
	list := s.views.dead.list
	for i := len(list) - 1; i >= 0; i-- {
		l := list[i]
		if r.GetStage() != "" && l.d.GetStage() != r.GetStage() || !p.behind(l.at, l.d.GetId(), false) {
			continue
		}
		if !p.take(l.at, l.d.GetId(), l.size) {
			break
		}
		out.DeadLetters = append(out.DeadLetters, l.d)
	}
	out.NextPageToken = p.next()
	return out, nil
}
