package collect

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/internal/wait"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

const (
	intentKey = "intent" // header of an INTENT record on the result topic
	// startWithin is how long after its INTENT a write may start; a new owner waits longer than that (R4).
	startWithin = 2 * time.Second
	takeOver    = 3 * time.Second
	retryEvery  = 250 * time.Millisecond
	refusals    = 5 // of one acknowledgement, before it is given up
)

// commands executes the commands of one source, one at a time and each at most once (R3).
type commands struct {
	o      Options
	device pipeline.Commander
	txn    *kafka.Txn
	part   int32
	group  string
	known  map[string]bool // command id -> has a result; false: an INTENT only
}

func runCommands(ctx context.Context, device pipeline.Commander, o Options) error {
	txn, err := o.Client.OpenTxn(ctx, o.Client.Topic("source."+o.ID)) // R4: the lease
	if err != nil {
		return ignoreEnd(ctx, fmt.Errorf("taking the lease of source %s: %w", o.ID, err))
	}
	c := &commands{
		o: o, device: device, txn: txn, group: o.Client.Topic("collect." + o.ID),
		part:  o.Client.PartitionFor(o.Client.Topic("command.v1"), []byte(o.ID)),
		known: map[string]bool{},
	}
	if err := c.recover(ctx); err != nil {
		return ignoreEnd(ctx, err)
	}
	return ignoreEnd(ctx, c.loop(ctx))
}

// recover reads what was executed before, and waits until an older owner's last write must have started.
func (c *commands) recover(ctx context.Context) error {
	topic := c.o.Client.Topic("command.result.v1")
	start, _, err := c.o.Client.Offsets(ctx, topic, c.part)
	if err != nil {
		return fmt.Errorf("reading command results: %w", err)
	}
	open := 0
	_, err = c.o.Client.ReadAll(ctx, topic, c.part, start, func(r kafka.Record) error {
		id := string(r.Key)
		done, seen := c.known[id]
		switch {
		case r.Header(intentKey) == nil:
			if seen && !done {
				open--
			}
			c.known[id] = true
		case !seen:
			open++
			c.known[id] = false
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading command results: %w", err)
	}
	if open > 0 {
		wait.For(ctx, takeOver)
	}
	return nil
}

func (c *commands) loop(ctx context.Context) error {
	topic := c.o.Client.Topic("command.v1")
	from, ok, err := c.o.Client.CommittedOffset(ctx, c.group, topic, c.part)
	if err != nil {
		return fmt.Errorf("reading the position of commands: %w", err)
	}
	start, _, err := c.o.Client.Offsets(ctx, topic, c.part)
	if err != nil {
		return fmt.Errorf("reading the position of commands: %w", err)
	}
	if !ok || from < start {
		from = start
	}
	f := c.o.Client.NewFetcher(topic, c.part, from, kafka.FetchOptions{})
	for ctx.Err() == nil {
		recs, err := f.Fetch(ctx)
		if err != nil {
			return fmt.Errorf("reading commands: %w", err)
		}
		for _, r := range recs {
			if string(r.Key) == c.o.ID {
				if err := c.handle(ctx, r); err != nil {
					return err
				}
			}
			if err := c.o.Client.CommitOffset(ctx, c.group, topic, c.part, r.Offset+1); err != nil {
				return fmt.Errorf("committing the position of commands: %w", err)
			}
		}
	}
	return nil
}

func (c *commands) handle(ctx context.Context, r kafka.Record) error {
	var cmd inboxv1.Command
	if err := proto.Unmarshal(r.Value, &cmd); err != nil {
		c.o.Log.Error("a command cannot be decoded and was not executed", "connector", c.o.ID, "offset", r.Offset, "err", err)
		c.o.Count("commands_undecodable", 1)
		return nil
	}
	if cmd.GetIdempotent() {
		return c.acknowledge(ctx, &cmd)
	}
	done, seen := c.known[cmd.GetCommandId()]
	if done {
		return nil // R3: a known id is dropped
	}
	if seen {
		// R3: interrupted between INTENT and result. Whether it was written is unknown, and it is never written again.
		return c.finish(ctx, &cmd, result(&cmd, inboxv1.CommandOutcome_COMMAND_OUTCOME_UNKNOWN, "interrupted before its result was known"))
	}
	deadline := cmd.GetDeadline().AsTime()
	if !cmd.GetDeadline().IsValid() || !c.o.Now().Before(deadline) {
		return c.finish(ctx, &cmd, result(&cmd, inboxv1.CommandOutcome_COMMAND_OUTCOME_EXPIRED, "past its deadline, not written"))
	}
	res, err := c.execute(ctx, &cmd, deadline)
	if err != nil {
		return err
	}
	return c.finish(ctx, &cmd, res)
}

// intent commits INTENT before the first write, so that a restart knows that the write may have begun (R3).
func (c *commands) intent(ctx context.Context, cmd *inboxv1.Command) error {
	v, err := proto.Marshal(&inboxv1.CommandIntent{CommandId: cmd.GetCommandId(), OwnerEpoch: uint64(c.txn.Epoch())})
	if err != nil {
		return fmt.Errorf("encoding an intent: %w", err)
	}
	rec := kafka.Record{
		Topic: c.o.Client.Topic("command.result.v1"), Partition: c.part, Key: []byte(cmd.GetCommandId()), Value: v,
		Headers: []kafka.Header{{Key: intentKey, Value: []byte{1}}},
	}
	if _, err := c.txn.Commit(ctx, []kafka.Record{rec}); err != nil {
		return fmt.Errorf("writing an intent: %w", err)
	}
	c.known[cmd.GetCommandId()] = false
	return nil
}

// execute runs the command until its deadline; while the device is away nothing is written and it waits. Every attempt
// starts soon after an INTENT: who was fenced in the meantime learns it there and writes nothing (R4).
func (c *commands) execute(ctx context.Context, cmd *inboxv1.Command, deadline time.Time) (*inboxv1.CommandResult, error) {
	var permit time.Time
	for {
		if c.o.Now().Sub(permit) >= startWithin {
			if err := c.intent(ctx, cmd); err != nil {
				return nil, err
			}
			permit = c.o.Now()
		}
		left := deadline.Sub(c.o.Now())
		if left <= 0 {
			return result(cmd, inboxv1.CommandOutcome_COMMAND_OUTCOME_EXPIRED, "the device was not connected before the deadline; not written"), nil
		}
		limited, cancel := context.WithTimeout(ctx, left)
		res, err := c.device.Execute(limited, cmd)
		cancel()
		switch {
		case err == nil:
			return res, nil
		case ctx.Err() != nil: // we are stopping: the next start finds the INTENT and says UNKNOWN
			return nil, ctx.Err()
		case !errors.Is(err, pipeline.ErrNotConnected):
			return result(cmd, inboxv1.CommandOutcome_COMMAND_OUTCOME_UNKNOWN, err.Error()), nil
		}
		if !wait.For(ctx, min(retryEvery, left)) {
			return nil, ctx.Err()
		}
	}
}

// finish commits the result for us and for the asset's mapping in one transaction.
func (c *commands) finish(ctx context.Context, cmd *inboxv1.Command, res *inboxv1.CommandResult) error {
	res.CommandId, res.CorrelationId, res.AssetPath = cmd.GetCommandId(), cmd.GetCorrelationId(), cmd.GetAssetPath()
	res.FinishedAt, res.OwnerEpoch = timestamppb.New(c.o.Now()), uint64(c.txn.Epoch())
	own, err := proto.Marshal(res)
	if err != nil {
		return fmt.Errorf("encoding a command result: %w", err)
	}
	in, err := proto.Marshal(&inboxv1.InboxRecord{Kind: &inboxv1.InboxRecord_CommandResult{CommandResult: res}})
	if err != nil {
		return fmt.Errorf("encoding a command result: %w", err)
	}
	recs := []kafka.Record{
		{Topic: c.o.Client.Topic("command.result.v1"), Partition: c.part, Key: []byte(cmd.GetCommandId()), Value: own},
		{Topic: c.o.Client.Topic("inbox.v1"), Partition: -1, Key: []byte(cmd.GetAssetPath()), Value: in},
	}
	if _, err := c.txn.Commit(ctx, recs); err != nil {
		return fmt.Errorf("writing a command result: %w", err)
	}
	c.known[cmd.GetCommandId()] = true
	c.o.Count("commands", 1)
	if res.GetOutcome() != inboxv1.CommandOutcome_COMMAND_OUTCOME_DONE {
		c.o.Log.Warn("a command was not done", "connector", c.o.ID, "asset", cmd.GetAssetPath(), "outcome", res.GetOutcome().String(), "code", res.GetCode(), "err", res.GetMessage())
	}
	return nil
}

// acknowledge writes an idempotent command until the device has taken it. It names what it acknowledges, so a repeat
// after a crash is harmless, and it has no deadline: the device waits for it. A device that refuses it again and again
// does not keep the commands behind it waiting.
func (c *commands) acknowledge(ctx context.Context, cmd *inboxv1.Command) error {
	for refused := 0; ; {
		res, err := c.device.Execute(ctx, cmd)
		if err == nil && res.GetOutcome() == inboxv1.CommandOutcome_COMMAND_OUTCOME_DONE {
			c.o.Count("acknowledgements", 1)
			return nil
		}
		if err == nil {
			refused++
		}
		if refused == refusals {
			c.o.Count("acknowledgements_refused", 1)
			c.o.Log.Error("the device refuses an acknowledgement; check that the tag is writable there", "connector", c.o.ID, "asset", cmd.GetAssetPath(), "outcome", res.GetOutcome().String(), "code", res.GetCode(), "err", res.GetMessage())
			return nil
		}
		if !wait.For(ctx, retryEvery) {
			return ctx.Err()
		}
	}
}

func result(cmd *inboxv1.Command, o inboxv1.CommandOutcome, message string) *inboxv1.CommandResult {
	return &inboxv1.CommandResult{CommandId: cmd.GetCommandId(), Outcome: o, Message: message}
}
