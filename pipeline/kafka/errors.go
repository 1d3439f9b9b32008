package kafka

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	kgo "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// ErrFenced says that a newer owner has opened the same transactional id, or that the broker has forgotten this one
// in a crash: nothing more may be done in the name of the id before it is opened again and its state is read (R6).
var ErrFenced = errors.New("fenced: another process owns this transactional id now")

// ErrSpent says that a Txn met an error after which its outcome or its sequence is not known. Open it again and read
// the state; the reason is wrapped beside it.
var ErrSpent = errors.New("the transactional producer must be opened again")

var errClosed = errors.New("the Kafka client is closed")

// TooLarge is the refusal of a record that would not fit a broker's message limit. Nothing of the call was sent.
type TooLarge struct {
	Topic string
	Key   string
	Size  int // bytes with headers
	Limit int
}

func (e *TooLarge) Error() string {
	return fmt.Sprintf("a record for %s with key %q has %d bytes, the limit is %d", e.Topic, e.Key, e.Size, e.Limit)
}

// OutOfRange says that the asked offset is not in the log: retention overtook the reader, or the log was reset.
// The reader decides; the fetcher never jumps by itself.
type OutOfRange struct {
	Topic      string
	Partition  int32
	Asked      int64
	Start, End int64 // what the log holds
}

func (e *OutOfRange) Error() string {
	why := "older records were deleted before they were read"
	if e.Asked > e.End {
		why = "the log ends before it, it was reset or records were lost"
	}
	return fmt.Sprintf("offset %d of %s/%d is out of range %d to %d: %s", e.Asked, e.Topic, e.Partition, e.Start, e.End, why)
}

// Unreadable is a batch that cannot be decoded: corrupt, of an old format, or larger than the limit when decompressed.
// SkipTo(Next) steps over it; that is a person's or the caller's decision.
type Unreadable struct {
	Topic     string
	Partition int32
	Offset    int64 // of the batch's first record
	Next      int64 // of the record behind the batch
	Err       error
}

func (e *Unreadable) Error() string {
	return fmt.Sprintf("the batch at offset %d of %s/%d cannot be read: %v", e.Offset, e.Topic, e.Partition, e.Err)
}
func (e *Unreadable) Unwrap() error { return e.Err }

// codeError makes an error of a broker's code, nil for 0.
func codeError(code int16) error {
	if code == 0 {
		return nil
	}
	return kgo.Error(code)
}

// code returns the broker's error code in err, 0 when err is not of a broker.
func code(err error) kgo.Error {
	var e kgo.Error
	if errors.As(err, &e) {
		return e
	}
	return 0
}

// movesLayout reports codes that say that leaders or coordinators have moved or are not known.
func movesLayout(err error) bool {
	switch code(err) {
	case kgo.UnknownTopicOrPartition, kgo.LeaderNotAvailable, kgo.NotLeaderForPartition, kgo.BrokerNotAvailable,
		kgo.ReplicaNotAvailable, kgo.GroupCoordinatorNotAvailable, kgo.NotCoordinatorForGroup, kgo.NotController,
		kgo.KafkaStorageError, kgo.FencedLeaderEpoch, kgo.UnknownLeaderEpoch, kgo.ListenerNotFound:
		return true
	}
	return false
}

// fatal reports errors that no retry of the same bytes can mend. Everything else, every network error included, is
// tried again: an outage must never turn into a lost record.
func fatal(err error) bool {
	var counts *partitionsError
	var large *TooLarge
	var forGood *permanent
	if errors.Is(err, errClosed) || errors.As(err, &counts) || errors.As(err, &large) || errors.As(err, &forGood) {
		return true
	}
	switch code(err) {
	case kgo.TopicAuthorizationFailed, kgo.GroupAuthorizationFailed, kgo.ClusterAuthorizationFailed,
		kgo.TransactionalIDAuthorizationFailed, kgo.SASLAuthenticationFailed, kgo.UnsupportedSASLMechanism,
		kgo.IllegalSASLState, kgo.SecurityDisabled, kgo.BrokerAuthorizationFailed, kgo.MessageSizeTooLarge,
		kgo.RecordListTooLarge, kgo.InvalidRecord, kgo.InvalidTimestamp, kgo.InvalidTopic, kgo.UnsupportedVersion,
		kgo.UnsupportedForMessageFormat, kgo.UnsupportedCompressionType, kgo.PolicyViolation, kgo.InvalidRequiredAcks,
		kgo.InvalidTransactionTimeout, kgo.InvalidRequest, kgo.InvalidConfiguration, kgo.InvalidReplicationFactor,
		kgo.InvalidPartitionNumber, kgo.InvalidGroupId, kgo.OffsetMetadataTooLarge, kgo.InvalidCommitOffsetSize:
		return true
	}
	return false
}

// fenced reports that a producer epoch is not the newest.
func fenced(err error) bool {
	c := code(err)
	return c == kgo.ProducerFenced || c == kgo.InvalidProducerEpoch || c == kgo.TransactionCoordinatorFenced
}

// lostSequence reports that broker and producer do not agree on the sequence of records.
func lostSequence(err error) bool {
	switch code(err) {
	case kgo.OutOfOrderSequenceNumber, kgo.UnknownProducerId, kgo.InvalidProducerIDMapping, kgo.InvalidProducerEpoch,
		kgo.InvalidTransactionState:
		return true
	}
	return false
}

// explain adds to a connection's error what a person can do about it.
func explain(err error) error {
	var dns *net.DNSError
	var unknownCA x509.UnknownAuthorityError
	var host x509.HostnameError
	var notKafka *notKafkaError
	switch {
	case errors.As(err, &notKafka):
		return err
	case errors.As(err, &dns):
		return fmt.Errorf("the host name %q cannot be resolved; check it and the DNS: %w", dns.Name, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing listens there; is the broker started and the port right? %w", err)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fmt.Errorf("there is no way to the host; check network and firewall: %w", err)
	case errors.As(err, &unknownCA), errors.As(err, &host):
		return fmt.Errorf("the broker's certificate is not accepted; check the CA and the host name: %w", err)
	case code(err) == kgo.SASLAuthenticationFailed:
		return fmt.Errorf("user or password is refused: %w", err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("no answer in time; a firewall may drop packets, or the broker is overloaded: %w", err)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("the peer closed the connection; it may want TLS or a password, or it is not Kafka: %w", err)
	case errors.Is(err, protocol.ErrNoTopic):
		return fmt.Errorf("the topic does not exist: %w", err)
	}
	return err
}

// notKafkaError says that a peer answered with something that is no Kafka frame.
type notKafkaError struct{ addr, hint string }

func (e *notKafkaError) Error() string {
	return fmt.Sprintf("%s answers, but not as a Kafka broker%s; check the port", e.addr, e.hint)
}

// permanent marks an error that retry must not try again.
type permanent struct{ err error }

func (e *permanent) Error() string { return e.err.Error() }
func (e *permanent) Unwrap() error { return e.err }

func isOutOfRange(err error) bool { return code(err) == kgo.OffsetOutOfRange }
