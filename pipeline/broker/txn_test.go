package broker

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
)

// generations are the two ways in which clients end a transaction: kafka-go
// and older ones keep the epoch (EndTxn 3), newer ones raise it (EndTxn 5).
func generations() map[string][]kgo.Opt {
	return map[string][]kgo.Opt{
		"a client of Kafka 2.8": {kgo.MaxVersions(kversion.V2_8_0())},
		"a client of Kafka 4":   nil,
	}
}

func txnClient(t *testing.T, addr, id string, opts []kgo.Opt) *kgo.Client {
	t.Helper()
	return client(t, addr, append([]kgo.Opt{kgo.TransactionalID(id), kgo.TransactionTimeout(time.Minute)}, opts...)...)
}

func begin(t *testing.T, cl *kgo.Client) {
	t.Helper()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
}

func end(t *testing.T, cl *kgo.Client, how kgo.TransactionEndTry) {
	t.Helper()
	if err := cl.EndTransaction(t.Context(), how); err != nil {
		t.Fatal(err)
	}
}

// R6: whoever initialises a transactional id fences the earlier holder, and a
// crash of the broker in between changes nothing about that.
func TestAFencedProducerStaysFencedAcrossACrash(t *testing.T) {
	t.Parallel()
	for name, opts := range generations() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBroker(t, testConfig(t.TempDir()))
			createTopic(t, b.Addr(), "t", 1)
			old := txnClient(t, b.Addr(), "plantloom.map.0", opts)
			begin(t, old)
			produce(t, old, "t", "old")
			end(t, old, kgo.TryCommit)
			id, epoch, err := old.ProducerID(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			owner := txnClient(t, b.Addr(), "plantloom.map.0", opts)
			begin(t, owner) // initialises the id, nothing more
			produce(t, owner, "t", "owner")
			end(t, owner, kgo.TryAbort)

			b = startBroker(t, crash(t, b))
			for _, e := range []int16{0, epoch} {
				if code := produceAs(t, b.Addr(), "plantloom.map.0", id, e); !isFenced(code) {
					t.Errorf("the old producer at epoch %d got %v, want to be fenced", e, kerr.ErrorForCode(code))
				}
			}
			next := txnClient(t, b.Addr(), "plantloom.map.0", opts)
			begin(t, next)
			produce(t, next, "t", "next")
			end(t, next, kgo.TryCommit)
			if diff := cmp.Diff([]string{"old", "next"}, consume(t, b.Addr(), "t", 2)); diff != "" {
				t.Errorf("committed records (-want +got):\n%s", diff)
			}
		})
	}
}

func isFenced(code int16) bool {
	err := kerr.ErrorForCode(code)
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch)
}

// A transaction that a crash interrupts is aborted: its records are not seen
// after the next transaction of that producer, nor after one more crash, and
// that next transaction is seen whole.
func TestATransactionOpenAtACrashIsAbortedForGood(t *testing.T) {
	t.Parallel()
	for name, opts := range generations() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBroker(t, testConfig(t.TempDir()))
			createTopic(t, b.Addr(), "t", 1)
			cl := txnClient(t, b.Addr(), "plantloom.map.0", opts)
			begin(t, cl)
			produce(t, cl, "t", "first")
			end(t, cl, kgo.TryCommit)
			begin(t, cl)
			produce(t, cl, "t", "lost1", "lost2")
			id, epoch, err := cl.ProducerID(t.Context())
			if err != nil {
				t.Fatal(err)
			}

			b = startBroker(t, crash(t, b))
			if code := endAs(t, b.Addr(), "plantloom.map.0", id, epoch); !isFenced(code) {
				t.Errorf("committing what the crash aborted got %v, want to be fenced", kerr.ErrorForCode(code))
			}
			next := txnClient(t, b.Addr(), "plantloom.map.0", opts)
			begin(t, next)
			produce(t, next, "t", "second")
			end(t, next, kgo.TryCommit)
			want := []string{"first", "second"}
			if diff := cmp.Diff(want, consume(t, b.Addr(), "t", 2)); diff != "" {
				t.Errorf("after the crash (-want +got):\n%s", diff)
			}
			b = startBroker(t, crash(t, b))
			if diff := cmp.Diff(want, consume(t, b.Addr(), "t", 2)); diff != "" {
				t.Errorf("after the second crash (-want +got):\n%s", diff)
			}
			closeBroker(t, b)
			b = startBroker(t, b.cfg)
			if diff := cmp.Diff(want, consume(t, b.Addr(), "t", 2)); diff != "" {
				t.Errorf("after a clean stop (-want +got):\n%s", diff)
			}
		})
	}
}

// A transaction outlives a clean stop. When a crash follows before it ends,
// readers of committed records must not wait for it for ever.
func TestATransactionOpenOverAStopAndACrashDoesNotHoldReaders(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.TempDir())
	b := startBroker(t, cfg)
	createTopic(t, b.Addr(), "t", 1)
	cl := txnClient(t, b.Addr(), "x", nil)
	begin(t, cl)
	produce(t, cl, "t", "open")
	closeBroker(t, b)
	b = startBroker(t, crash(t, startBroker(t, cfg)))
	produce(t, client(t, b.Addr()), "t", "plain")
	if diff := cmp.Diff([]string{"plain"}, consume(t, b.Addr(), "t", 1)); diff != "" {
		t.Errorf("committed records (-want +got):\n%s", diff)
	}
}

func TestATransactionCanBeEndedAfterACleanStop(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.TempDir())
	cfg.Listen = freeAddr(t)
	b := startBroker(t, cfg)
	createTopic(t, b.Addr(), "t", 1)
	cl := txnClient(t, b.Addr(), "x", nil)
	begin(t, cl)
	produce(t, cl, "t", "before")
	closeBroker(t, b)
	startBroker(t, cfg)
	produce(t, cl, "t", "after")
	end(t, cl, kgo.TryCommit)
	if diff := cmp.Diff([]string{"before", "after"}, consume(t, cfg.Listen, "t", 2)); diff != "" {
		t.Errorf("committed records (-want +got):\n%s", diff)
	}
}

// A producer whose acknowledgement was lost in a crash sends the batch again:
// it must be recognised, and a later one must not be refused.
func TestARepeatedBatchIsRecognisedAfterACrash(t *testing.T) {
	t.Parallel()
	b := startBroker(t, testConfig(t.TempDir()))
	createTopic(t, b.Addr(), "t", 1)
	id, epoch := initProducer(t, b.Addr())
	send := func(seq int32) (int64, error) {
		p := produceRaw(t, b.Addr(), rawBatch{producer: id, epoch: epoch, seq: seq, value: "v"})
		return p.BaseOffset, kerr.ErrorForCode(p.ErrorCode)
	}
	for seq := range int32(8) {
		if offset, err := send(seq); err != nil || offset != int64(seq) {
			t.Fatalf("sequence %d: offset %d, %v", seq, offset, err)
		}
	}
	for round := range 2 {
		b = startBroker(t, crash(t, b))
		for seq := int32(3); seq < 8; seq++ {
			if offset, err := send(seq); err != nil || offset != int64(seq) {
				t.Errorf("round %d: repeated sequence %d: offset %d, %v", round, seq, offset, err)
			}
		}
		if _, err := send(11); !errors.Is(err, kerr.OutOfOrderSequenceNumber) {
			t.Errorf("round %d: a gap in the sequence: %v", round, err)
		}
	}
	if offset, err := send(8); err != nil || offset != 8 {
		t.Errorf("the next sequence: offset %d, %v", offset, err)
	}
}

// kfake finds the index entry of a batch by its position: a crash between the
// two writes must not shift the marks of the later batches.
func TestAMissingIndexEntryIsMended(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func([]byte) []byte{
		"the last entry is missing": func(b []byte) []byte { return b[:len(b)-entrySize] },
		"the last entry is torn":    func(b []byte) []byte { return b[:len(b)-4] },
		"the file is missing":       func([]byte) []byte { return nil },
		"the entries are shifted":   func(b []byte) []byte { return b[entrySize:] },
		"there is an entry too many": func(b []byte) []byte {
			return append(b, b[:entrySize]...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBroker(t, testConfig(t.TempDir()))
			createTopic(t, b.Addr(), "t", 1)
			produce(t, client(t, b.Addr()), "t", "plain")
			cl := txnClient(t, b.Addr(), "x", nil)
			begin(t, cl)
			produce(t, cl, "t", "aborted")
			end(t, cl, kgo.TryAbort)
			produce(t, client(t, b.Addr()), "t", "plain")
			begin(t, cl)
			produce(t, cl, "t", "open")

			cfg := crash(t, b)
			index := filepath.Join(partitionDir(dataDir(cfg.Dir), "t", 0), "0.idx")
			want, err := os.ReadFile(index)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(index, damage(append([]byte(nil), want...)), 0o600); err != nil {
				t.Fatal(err)
			}
			b = startBroker(t, cfg)
			produce(t, client(t, b.Addr()), "t", "last")
			if diff := cmp.Diff([]string{"plain", "plain", "last"}, consume(t, b.Addr(), "t", 3)); diff != "" {
				t.Errorf("committed records (-want +got):\n%s", diff)
			}
		})
	}
}
