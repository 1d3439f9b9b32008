package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/plantloom/plantloom/pipeline/kafka"
)

func openTxn(t *testing.T, c *kafka.Client, id string) *kafka.Txn {
	t.Helper()
	x, err := c.OpenTxn(within(t, 20*time.Second), id)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestACommitWritesSeveralTopicsAndReturnsTheirOffsets(t *testing.T) {
	t.Parallel()
	c := open(t, cluster(t, kfake.NumBrokers(3)), false, map[string]int{"a": 2, "b": 1})
	x := openTxn(t, c, "id")
	for i := range 5 {
		offsets, err := x.Commit(within(t, 20*time.Second), []kafka.Record{
			rec("a", 1, "", fmt.Sprint(2*i)), rec("b", 0, "", fmt.Sprint(i)), rec("a", 1, "", fmt.Sprint(2*i+1)),
		})
		if err != nil {
			t.Fatal(err)
		}
		// Each commit leaves a control record behind its records.
		if diff := cmp.Diff([]int64{int64(3 * i), int64(2 * i), int64(3*i + 1)}, offsets); diff != "" {
			t.Errorf("offsets (-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff(numbers(0, 10), values(t, c, "a", 1)); diff != "" {
		t.Errorf("a/1 (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(numbers(0, 5), values(t, c, "b", 0)); diff != "" {
		t.Errorf("b/0 (-want +got):\n%s", diff)
	}
}

// R6: opening fences every older owner, which learns it at its next commit and writes nothing.
func TestAFencedOwnerCommitsNothing(t *testing.T) {
	t.Parallel()
	for _, embedded := range []bool{false, true} {
		t.Run(fmt.Sprintf("embedded %v", embedded), func(t *testing.T) {
			t.Parallel()
			c := open(t, cluster(t), embedded, map[string]int{"a": 1, "state": 1})
			old := openTxn(t, c, "id")
			if err := old.Step(within(t, 20*time.Second), numbered("a", 0, 0, 1), numbered("state", 0, 0, 1)); err != nil {
				t.Fatal(err)
			}
			newer := openTxn(t, c, "id")
			if newer.Epoch() <= old.Epoch() {
				t.Errorf("epoch %d after %d", newer.Epoch(), old.Epoch())
			}
			err := old.Step(within(t, 20*time.Second), numbered("a", 0, 100, 1), numbered("state", 0, 100, 1))
			if !errors.Is(err, kafka.ErrFenced) {
				t.Fatalf("error %v, want ErrFenced", err)
			}
			if err := old.Step(within(t, 20*time.Second), nil, numbered("state", 0, 101, 1)); !errors.Is(err, kafka.ErrFenced) {
				t.Fatalf("second error %v, want ErrFenced", err)
			}
			if err := newer.Step(within(t, 20*time.Second), numbered("a", 0, 1, 1), numbered("state", 0, 1, 1)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(numbers(0, 2), values(t, c, "a", 0)); diff != "" {
				t.Errorf("a (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(numbers(0, 2), values(t, c, "state", 0)); diff != "" {
				t.Errorf("state (-want +got):\n%s", diff)
			}
		})
	}
}

// R6: what an older owner left open is aborted before OpenTxn returns, and readers never see it.
func TestAnOpenTransactionOfADeadOwnerIsAbortedAndFiltered(t *testing.T) {
	t.Parallel()
	k := cluster(t)
	c := open(t, k, false, map[string]int{"a": 1})
	for i := range 3 {
		dead := openTxn(t, c, "id")
		ctx, cancel := context.WithCancel(context.Background())
		// The owner dies between its records and the commit.
		h := k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.CoordinatorNotAvailable, Count: -1})
		done := make(chan error, 1)
		go func() {
			_, err := dead.Commit(ctx, numbered("a", 0, 1000+i, 2))
			done <- err
		}()
		if err := h.Wait(within(t, 20*time.Second), 1); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) || !errors.Is(err, kafka.ErrSpent) {
			t.Fatalf("error %v, want canceled and spent", err)
		}
		if _, err := dead.Commit(within(t, time.Second), numbered("a", 0, 2000, 1)); !errors.Is(err, kafka.ErrSpent) {
			t.Fatalf("error %v, want ErrSpent", err)
		}
		h.Remove()
		alive := openTxn(t, c, "id")
		if _, err := alive.Commit(within(t, 20*time.Second), numbered("a", 0, i*2, 2)); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(numbers(0, 6), values(t, c, "a", 0)); diff != "" {
		t.Errorf("committed (-want +got):\n%s", diff)
	}
	// In the middle of it, and with the aborted records asked for.
	f := c.NewFetcher("a", 0, 1, kafka.FetchOptions{})
	recs, err := f.Fetch(within(t, 10*time.Second))
	if err != nil || len(recs) != 6 {
		t.Fatalf("%d records, %v; want 6 committed ones behind offset 1", len(recs), err)
	}
	f = c.NewFetcher("a", 0, 0, kafka.FetchOptions{Uncommitted: true})
	if recs, err = f.Fetch(within(t, 10*time.Second)); err != nil || len(recs) != 12 {
		t.Errorf("%d records, %v; want 12 with the aborted ones", len(recs), err)
	}
	if f.Position() != 18 {
		t.Errorf("position %d, want 18: control records are stepped over", f.Position())
	}
}

// The broker does what it is asked and the answer is lost with the connection, for every request of a transaction:
// each is asked again, nothing is doubled, and a commit that has happened is confirmed.
func TestLostAnswersInsideATransactionAreOutlasted(t *testing.T) {
	t.Parallel()
	for _, key := range []kmsg.Key{kmsg.InitProducerID, kmsg.AddPartitionsToTxn, kmsg.Produce, kmsg.EndTxn, kmsg.FindCoordinator} {
		t.Run(key.Name(), func(t *testing.T) {
			t.Parallel()
			k, drop := droppingCluster(t)
			c := open(t, k, false, map[string]int{"a": 1, "b": 1})
			drop.arm(key, 2)
			x := openTxn(t, c, "id")
			for i := range 4 {
				drop.arm(key, i%3)
				if _, err := x.Commit(within(t, 20*time.Second), append(numbered("a", 0, i*2, 2), numbered("b", 0, i, 1)...)); err != nil {
					t.Fatal(err)
				}
			}
			if drop.count() < 2 {
				t.Errorf("%d answers were lost", drop.count())
			}
			if diff := cmp.Diff(numbers(0, 8), values(t, c, "a", 0)); diff != "" {
				t.Errorf("a (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(numbers(0, 4), values(t, c, "b", 0)); diff != "" {
				t.Errorf("b (-want +got):\n%s", diff)
			}
		})
	}
}

// The owner loses the answer to its commit and a newer owner comes: what it reports is never a success that did not
// happen, and here the commit did.
func TestACommitInDoubtThatANewerOwnerCutsShortIsNotReportedAsSuccess(t *testing.T) {
	t.Parallel()
	k, drop := droppingCluster(t)
	c := open(t, k, false, map[string]int{"a": 1})
	x := openTxn(t, c, "id")
	drop.arm(kmsg.EndTxn, 1)
	k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Observe: true, Count: -1})
	first := true
	k.ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
		k.KeepControl()
		if first {
			first = false
			return nil, nil, false
		}
		r := kmsg.NewPtrEndTxnResponse()
		r.SetVersion(3)
		r.ErrorCode = kerr.ProducerFenced.Code
		return r, nil, true
	})
	_, err := x.Commit(within(t, 20*time.Second), numbered("a", 0, 0, 2))
	if !errors.Is(err, kafka.ErrFenced) {
		t.Fatalf("error %v, want ErrFenced", err)
	}
	openTxn(t, c, "id")
	if diff := cmp.Diff(numbers(0, 2), values(t, c, "a", 0)); diff != "" {
		t.Errorf("the state that the next owner reads (-want +got):\n%s", diff)
	}
}

func TestATransactionThatTheBrokerAbortedIsNotReportedAsCommitted(t *testing.T) {
	t.Parallel()
	for _, e := range []*kerr.Error{kerr.InvalidTxnState, kerr.InvalidProducerIDMapping, kerr.ProducerFenced, kerr.InvalidProducerEpoch} {
		t.Run(e.Message, func(t *testing.T) {
			t.Parallel()
			k := cluster(t)
			c := open(t, k, false, map[string]int{"a": 1})
			x := openTxn(t, c, "id")
			k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: e})
			_, err := x.Commit(within(t, 20*time.Second), numbered("a", 0, 0, 2))
			if !errors.Is(err, kafka.ErrSpent) && !errors.Is(err, kafka.ErrFenced) {
				t.Fatalf("error %v", err)
			}
			openTxn(t, c, "id")
			if got := values(t, c, "a", 0); len(got) != 0 {
				t.Errorf("%d records are committed", len(got))
			}
		})
	}
}

// R5: on the embedded broker a crash between the halves of a step leaves outputs without marker, never the opposite.
func TestACrashBetweenTheHalvesOfAStepLosesNothing(t *testing.T) {
	t.Parallel()
	for _, embedded := range []bool{false, true} {
		t.Run(fmt.Sprintf("embedded %v", embedded), func(t *testing.T) {
			t.Parallel()
			k := cluster(t)
			c := open(t, k, embedded, map[string]int{"out": 1, "state": 1})
			x := openTxn(t, c, "id")
			// The marker cannot be written: the process dies waiting for it.
			h := k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "state", Err: kerr.NotEnoughReplicas, Count: -1})
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- x.Step(ctx, numbered("out", 0, 0, 2), numbered("state", 0, 0, 2)) }()
			if err := h.Wait(within(t, 20*time.Second), 1); err != nil {
				t.Fatal(err)
			}
			cancel()
			if err := <-done; err == nil {
				t.Fatal("the step succeeded")
			}
			h.Remove()
			x = openTxn(t, c, "id")
			if got := values(t, c, "state", 0); len(got) != 0 {
				t.Fatalf("the marker is there: %v", got)
			}
			wantOut := numbers(0, 2)
			if embedded {
				wantOut = append(wantOut, wantOut...) // the documented repeat
			}
			if err := x.Step(within(t, 20*time.Second), numbered("out", 0, 0, 2), numbered("state", 0, 0, 2)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(wantOut, values(t, c, "out", 0)); diff != "" {
				t.Errorf("outputs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(numbers(0, 2), values(t, c, "state", 0)); diff != "" {
				t.Errorf("state (-want +got):\n%s", diff)
			}
		})
	}
}

func TestATooLargeRecordLeavesTheTransactionUsable(t *testing.T) {
	t.Parallel()
	c := open(t, cluster(t), false, map[string]int{"a": 1})
	x := openTxn(t, c, "id")
	var large *kafka.TooLarge
	_, err := x.Commit(within(t, 5*time.Second), []kafka.Record{{Topic: "a", Value: make([]byte, 2<<20)}})
	if !errors.As(err, &large) {
		t.Fatalf("error %v, want *TooLarge", err)
	}
	if _, err := x.Commit(within(t, 20*time.Second), numbered("a", 0, 0, 1)); err != nil {
		t.Fatal(err)
	}
}
