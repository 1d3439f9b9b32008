// Package pipeline is the vocabulary of Plantloom: the words that connectors, mapping, Kafka legs and API share.
//
// It holds types and the contracts between stages, and nothing that runs. It imports the standard library and the
// generated protos only, and everything else may import it. Read this file first.
//
// One tag value's way: a Source emits a Batch into an Outlet; the Outlet's nil means that the batch is durable in the
// asset's inbox topic; the mapping engine turns inbox records into Events; a Sink delivers each Event once in effect.
package pipeline

import (
	"context"
	"strconv"
	"time"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
)

// Source is a connection from which samples or order documents come.
type Source interface {
	// Run connects and emits into out until ctx ends, then it returns nil within one second, or until the endpoint is
	// lost, then it returns the reason and the supervisor calls Run again on the same value after a back-off.
	//
	// cursor is what the newest durable Batch carried, nil at the very first start; Run owns the slice.
	// Run acknowledges to the device only what Emit has taken with nil.
	Run(ctx context.Context, cursor []byte, out Outlet) error
}

// Outlet takes batches and makes them durable.
type Outlet interface {
	// Emit returns nil when all of b is durable, and not before; b.Cursor is then saved too. It blocks while the
	// durable store is away: back-pressure is the only answer to an outage, nothing is dropped. A non-nil error is
	// ctx's end or final for this Run. One Emit is under way at a time. The caller may reuse b's slices after it.
	Emit(ctx context.Context, b Batch) error
}

// Sink delivers events to a business system. Its methods are called from several goroutines.
type Sink interface {
	// Write delivers events in order and returns one receipt for each event that it delivered; err is about
	// events[len(receipts)]. The three answers of rule R1:
	// a *Reject: no retry can mend it; a *NotExecuted: provably without effect, try again;
	// anything else, the end of ctx included: in doubt, the caller settles and looks up before it decides.
	// Lanes call Write with one event.
	Write(ctx context.Context, events []Event) ([]Receipt, error)
}

// Lookuper is a Sink that can say whether an event had its effect. Without it an event in doubt waits for a person.
type Lookuper interface {
	// Lookup reports the receipt of e's effect. found is false when the system certainly has no such effect.
	// A *Conflict says that the effect exists with another content.
	Lookup(ctx context.Context, e Event) (r Receipt, found bool, err error)
}

// Taker is a Sink that can say beforehand which events it does not take: they get their receipt without an intent.
type Taker interface {
	Takes(e Event) bool
}

// Settler is a Sink that knows how long its peer may go on working on a request that we have given up.
type Settler interface {
	Settle() time.Duration
}

// Commander is a Source that can write to its device. Execute shares the session of Run (small PLCs allow one) and
// is called while Run is under way, from one other goroutine.
type Commander interface {
	// Execute performs the whole group (writes in order, read-back, handshake) and always returns a result; writes
	// that were made stand in it. It writes only tags of its list that are marked writable (R3). The end of ctx is
	// the deadline. ErrNotConnected, with nothing written, lets the caller try again before the deadline.
	Execute(ctx context.Context, c *inboxv1.Command) (*inboxv1.CommandResult, error)
}

// Batch is what a source hands over at once. Samples are in the order of their positions.
type Batch struct {
	Session   string    // what positions count in, for example server URI, start time and subscription
	Samples   []Sample  // may be empty: a batch can carry the watermark or the cursor alone
	Watermark time.Time // promise: later samples of this source are not older, except by lateness; zero: no promise
	ClockSkew time.Duration
	State     SourceState
	Cursor    []byte // where to go on after a restart; nil leaves the saved one

	Orders []*eventv1.ProductionOrder // documents for the dispatcher
	Dead   []DeadLetter               // documents that the source could not read
}

// Sample is one reading of one tag.
type Sample struct {
	Tag      string // id from the source's tag list
	Value    Value
	Quality  Quality
	At       time.Time // source time, the event time
	ServerAt time.Time // zero when the server gives none
	Seen     time.Time // arrival here
	// Position rises within a Batch's session and lane (live or, with FlagHistorical, fill). It comes from the source,
	// never from how batches were cut (R7). 0: the source has none; repeats are told by tag, time, status and value.
	Position uint64
	Ordinal  uint32 // among samples of this tag with the same At
	Flags    Flags
	Op       Op
}

// Flags say how a sample came about.
type Flags uint32

// The bits are those of TagSample.flags.
const (
	FlagHistorical   Flags = 1 << iota // read from history
	FlagInitial                        // first value of a subscription, not a change
	FlagHeartbeat                      // repeated without a change
	FlagInterpolated                   // not measured
	FlagOverflow                       // the server's queue lost values before this one
	FlagClamped                        // a time outside the representable range was clamped
)

// Op is what a sample does to the tag's history.
type Op uint8

// Most sources only add.
const (
	OpAdd Op = iota
	OpUpdate
	OpDelete
)

// SourceState is what a source says of itself in heartbeats (R10).
type SourceState uint8

// The states in the order of SourceState of the inbox proto.
const (
	StateUnknown SourceState = iota
	StateLive
	StateFilling // closing a gap from history; the watermark stands at the gap's start
	StateStalled
	StateIdle
)

// Tag is one row of a source's tag list.
type Tag struct {
	ID       string // plant-wide stable name, for example L1/Cnt.Good
	Address  string // as the source's protocol names it
	Asset    string // ISA-95 path, '/' separated, down to the work centre or below
	Type     string // bool, int, uint, float, text; empty: as the source gives it
	Unit     string // UCUM or UNECE code, empty when none
	Writable bool   // commands may write it
}

// Event is a business event on its way to consumers and sinks. Equal causes give equal IDs (R13).
type Event struct {
	ID       string
	Revision uint32
	Type     string // short name of the protobuf message, for example ProductionOrderEvent
	Key      string // the Kafka key and the lane: order, lot or serial, asset
	At       time.Time
	Body     []byte // the protobuf message
	// Historical events come from a back-fill job; sinks skip them unless told otherwise (R11).
	Historical bool
}

// EffectID names the one effect that a sink makes of this record of the event: the id, and the revision of a correction.
// It is what goes to the peer as external id.
func (e Event) EffectID() string {
	if e.Revision == 0 {
		return e.ID
	}
	return e.ID + "." + strconv.FormatUint(uint64(e.Revision), 10)
}

// Receipt says that a sink has delivered an event.
type Receipt struct {
	Document string // the peer's number for the effect; may be empty
	Note     string // for people
	Skipped  bool   // the sink takes no event of this kind; nothing was sent
}

// DeadLetter is a record that could not be processed, with what is needed to explain and to replay it.
type DeadLetter struct {
	Stage, Code, Reason string // Code is stable; Reason is one sentence for people
	Key                 string
	EventType           string // of Body; empty when Body is the original input
	ContentType         string
	Body                []byte
	Details             map[string]string
}
