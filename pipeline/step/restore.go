package step

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// mark is one complete step as the state topic holds it.
type mark struct {
	m      *inboxv1.StepMarker // of the last part
	cells  []byte              // of all parts
	offset int64               // of the first part
}

// restore sets the machine's state and the input position from the newest marker that the input still covers.
func (t *task) restore(ctx context.Context) error {
	start, _, err := t.o.Client.Offsets(ctx, t.o.State, t.o.Partition)
	if err != nil {
		return fmt.Errorf("reading the state: %w", err)
	}
	inStart, inEnd, err := t.o.Client.Offsets(ctx, t.o.Input, t.o.Partition)
	if err != nil {
		return fmt.Errorf("reading the input: %w", err)
	}
	var c collector
	if _, err := t.o.Client.ReadAll(ctx, t.o.State, t.o.Partition, start, c.add); err != nil {
		return fmt.Errorf("reading the state: %w", err)
	}
	marks, lost := covered(c.marks, inEnd)
	if lost > 0 {
		t.o.Log.Error("the input ends before the newest state: records were lost (power failure?); going back to the newest state that the input covers, check the disk and the broker's fsync",
			"task", t.o.Task, "partition", t.o.Partition, "steps", lost, "input_end", inEnd)
	}
	t.next = inStart
	digest, snapshot, deltas := "", []byte(nil), [][]byte(nil)
	for _, k := range marks {
		if k.m.GetSnapshot() {
			snapshot, deltas = k.cells, nil
			t.snapshots = append(t.snapshots, k.offset)
		} else {
			deltas = append(deltas, k.cells)
		}
		t.next, t.step, digest = k.m.GetInputOffset(), k.m.GetStep(), k.m.GetMappingDigest()
	}
	if len(t.snapshots) > keepSnapshots {
		t.snapshots = t.snapshots[len(t.snapshots)-keepSnapshots:]
	}
	if err := t.m.Restore(digest, snapshot, deltas); err != nil {
		return fmt.Errorf("restoring step %d: %w", t.step, err)
	}
	return nil
}

// collector puts the parts of steps together.
type collector struct {
	marks []mark
	open  *mark
}

func (c *collector) add(r kafka.Record) error {
	var m inboxv1.StepMarker
	if err := proto.Unmarshal(r.Value, &m); err != nil {
		return fmt.Errorf("decoding the marker at offset %d: %w", r.Offset, err)
	}
	if m.GetPart() == 0 {
		c.open = &mark{offset: r.Offset}
	}
	if c.open == nil || (c.open.m != nil && (c.open.m.GetStep() != m.GetStep() || c.open.m.GetPart()+1 != m.GetPart())) {
		c.open = nil // a step that was never completed, or whose first part is deleted
		return nil
	}
	c.open.m, c.open.cells = &m, append(c.open.cells, m.GetDelta()...)
	if m.GetPart()+1 >= m.GetParts() {
		c.marks, c.open = append(c.marks, *c.open), nil
	}
	return nil
}

// covered returns the marks from the first snapshot on whose input positions are not beyond end, and how many
// are (R5). A step that was written again after a roll-back replaces the older steps of the same and higher numbers.
func covered(marks []mark, end int64) (out []mark, lost int) {
	for _, k := range marks {
		for len(out) > 0 && out[len(out)-1].m.GetStep() >= k.m.GetStep() {
			out = out[:len(out)-1]
		}
		if k.m.GetInputOffset() > end {
			lost++
			continue
		}
		if len(out) == 0 && !k.m.GetSnapshot() {
			continue
		}
		out = append(out, k)
	}
	return out, lost
}
