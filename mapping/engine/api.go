package engine

import (
	"time"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
)

// Bound is a program with one machine that it runs for.
type Bound struct {
	Program *Program
	Machine Machine
}

// Config says what is the same for all machines of an engine.
type Config struct {
	Site   string // stands in event ids (R13)
	Digest string // of the mapping set, for the provenance of events
	// RepeatHorizon is how long a sample is remembered to tell repeats, in event time; 0 is max(Lateness, 10 min) (R7).
	RepeatHorizon time.Duration
	// Lateness is how much older than its source's watermark a sample may be; 0 is 2 s (R10).
	Lateness time.Duration
	// UnsafeNoRepeatFilter takes every sample, repeated or not. Only crash tests set it, to show that R7 is needed.
	UnsafeNoRepeatFilter bool
}

// Cause is one record of an inbox partition, with its place in the log.
type Cause struct {
	Record    *inboxv1.InboxRecord // not kept after Apply
	Key       string               // the record's key: the asset path, or the source id of a heartbeat
	Partition int32
	Offset    int64
	At        time.Time // the record's timestamp in the log
}

// Effects is what records give. Apply appends to it; the caller empties it with Reset.
type Effects struct {
	Events   []Emitted
	Commands []*inboxv1.Command
	Dead     []pipeline.DeadLetter
	Late     []pipeline.Sample // behind the watermark when they came; not used (R12)

	Samples   int // of tags that a machine reads
	Repeats   int // samples that were there before (R7)
	Overflows int // integer results that did not fit, and divisions by zero
	Estimated int // counter steps that bridge a gap, a reset or an implausible jump
	Stale     int // operations at or below a revision that was seen before (R16)
	Unbooked  int // intervals with counts that a rule's if refused
}

// Emitted is an event with where it comes from.
type Emitted struct {
	pipeline.Event
	Asset, Mapping, Rule string
}

// Reset empties e and keeps its memory.
func (e *Effects) Reset() {
	*e = Effects{Events: e.Events[:0], Commands: e.Commands[:0], Dead: e.Dead[:0], Late: e.Late[:0]}
}
