package lane

import (
	"context"

	"github.com/plantloom/plantloom/pipeline/kafka"
)

// maxEntries bounds the entries of one transaction.
const maxEntries = 256

// entry is what one lane wants to be durable at once. first is written before or with the receipt, so that a receipt
// never says more than has happened: a dead letter, a moved event.
type entry struct {
	first    []kafka.Record
	receipts []kafka.Record
	done     chan error
}

// journal commits the entries of all lanes of a partition together: while one transaction is under way the next one
// grows, so the number of commits and fsyncs does not grow with the lanes.
type journal struct {
	txn *kafka.Txn
	in  chan *entry
}

func newJournal(txn *kafka.Txn) *journal { return &journal{txn: txn, in: make(chan *entry)} }

// write returns when the entry is durable, or with why it is not known to be.
func (j *journal) write(ctx context.Context, e *entry) error {
	e.done = make(chan error, 1)
	select {
	case j.in <- e:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-e.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run commits until ctx ends (nil) or a commit fails; the owner must start again then.
func (j *journal) run(ctx context.Context) error {
	for {
		var batch []*entry
		select {
		case <-ctx.Done():
			return nil
		case e := <-j.in:
			batch = append(batch, e)
		}
	more:
		for len(batch) < maxEntries {
			select {
			case e := <-j.in:
				batch = append(batch, e)
			default:
				break more
			}
		}
		var first, receipts []kafka.Record
		for _, e := range batch {
			first = append(first, e.first...)
			receipts = append(receipts, e.receipts...)
		}
		err := j.txn.Step(ctx, first, receipts)
		for _, e := range batch {
			e.done <- err
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}
