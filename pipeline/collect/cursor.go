package collect

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/internal/wait"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

const (
	// tidyEvery is how often a source writes its cursor again and the cursors before all newest ones are deleted (R9).
	tidyEvery = time.Hour
	// removedAfter is the age after which a cursor counts as one of a source that was removed from the plant.
	removedAfter = 35 * 24 * time.Hour
)

// loadCursor returns the newest saved cursor of the source, nil when there is none.
func loadCursor(ctx context.Context, o Options) ([]byte, error) {
	newest, err := newestCursors(ctx, o)
	if err != nil {
		return nil, err
	}
	return newest[o.ID].c.GetCursor(), nil
}

// saved is a cursor as the topic holds it.
type saved struct {
	c      *inboxv1.SourceCursor
	offset int64
}

// newestCursors returns the newest cursor of every source whose cursors lie in this source's partition.
func newestCursors(ctx context.Context, o Options) (map[string]saved, error) {
	topic := o.Client.Topic("cursor.v1")
	part := o.Client.PartitionFor(topic, []byte(o.ID))
	newest := map[string]saved{}
	_, err := o.Client.ReadAll(ctx, topic, part, 0, func(r kafka.Record) error {
		c := &inboxv1.SourceCursor{}
		if err := proto.Unmarshal(r.Value, c); err != nil {
			return fmt.Errorf("decoding the cursor at offset %d: %w", r.Offset, err)
		}
		newest[string(r.Key)] = saved{c, r.Offset}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the cursor of source %s: %w", o.ID, err)
	}
	return newest, nil
}

func (out *outlet) saveCursor(ctx context.Context, cursor []byte) error {
	if cursor == nil {
		return nil
	}
	out.mu.Lock() // an older cursor is never written behind a newer one
	defer out.mu.Unlock()
	return out.writeCursor(ctx, cursor)
}

// writeCursor needs out.mu.
func (out *outlet) writeCursor(ctx context.Context, cursor []byte) error {
	v, err := proto.Marshal(&inboxv1.SourceCursor{SourceId: out.o.ID, Cursor: cursor, SavedAt: timestamppb.New(out.o.Now())})
	if err != nil {
		return fmt.Errorf("encoding the cursor of source %s: %w", out.o.ID, err)
	}
	rec := kafka.Record{Topic: out.o.Client.Topic("cursor.v1"), Partition: -1, Key: []byte(out.o.ID), Value: v}
	if _, err := out.producer.Produce(ctx, []kafka.Record{rec}); err != nil {
		return fmt.Errorf("saving the cursor of source %s: %w", out.o.ID, err)
	}
	out.cursor = cursor
	return nil
}

// tidyCursors keeps the cursor topic short: nothing compacts it on the embedded broker (R9).
func (out *outlet) tidyCursors(ctx context.Context) error {
	for wait.For(ctx, tidyEvery) {
		if err := out.tidyOnce(ctx); err != nil {
			return ignoreEnd(ctx, err)
		}
	}
	return nil
}

// saveAgain writes the newest cursor once more.
func (out *outlet) saveAgain(ctx context.Context) error {
	out.mu.Lock()
	defer out.mu.Unlock()
	if out.cursor == nil {
		return nil
	}
	return out.writeCursor(ctx, out.cursor)
}

// tidyOnce writes the source's own cursor again, so that a quiet source pins nothing, and deletes what lies before the
// newest cursor of every source.
func (out *outlet) tidyOnce(ctx context.Context) error {
	if err := out.saveAgain(ctx); err != nil {
		return err
	}
	newest, err := newestCursors(ctx, out.o)
	if err != nil {
		return err
	}
	before := int64(-1)
	for _, s := range newest {
		if out.o.Now().Sub(s.c.GetSavedAt().AsTime()) < removedAfter && (before < 0 || s.offset < before) {
			before = s.offset
		}
	}
	if before <= 0 {
		return nil
	}
	topic := out.o.Client.Topic("cursor.v1")
	return out.o.Client.DeleteRecords(ctx, topic, out.o.Client.PartitionFor(topic, []byte(out.o.ID)), before)
}
