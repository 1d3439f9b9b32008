package kafka

import "time"

// Record is one Kafka record. What a Fetcher returned shares memory with its neighbours: copy what is kept for long.
type Record struct {
	Topic     string
	Partition int32 // -1 when producing: chosen by the key
	Offset    int64 // set by the broker
	Key       []byte
	Value     []byte // nil is a tombstone
	Headers   []Header
	Time      time.Time // when it was produced, UTC; ignored when producing (R8)
}

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte
}

// Header returns the value of the newest header of that key, nil when there is none.
func (r Record) Header(key string) []byte {
	for i := len(r.Headers) - 1; i >= 0; i-- {
		if r.Headers[i].Key == key {
			return r.Headers[i].Value
		}
	}
	return nil
}

const (
	// maxRecord bounds a record's key, value and headers. Kafka's default max.message.bytes is 1,048,588; the rest is
	// for the batch header and for data that grows under compression.
	maxRecord = 1_000_000
	// maxBatch bounds the records of one batch before compression, and maxBatchRecords their number.
	maxBatch        = 1_000_000
	maxBatchRecords = 5000
	// recordOverhead is the most that lengths, deltas and attributes of one record take.
	recordOverhead = 32
)

// size bounds the encoded size of a record.
func (r *Record) size() int {
	n := len(r.Key) + len(r.Value) + recordOverhead
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value) + 10
	}
	return n
}

// fits refuses records that a broker would refuse.
func fits(recs []Record) error {
	for i := range recs {
		if n := recs[i].size(); n > maxRecord {
			return &TooLarge{Topic: recs[i].Topic, Key: string(recs[i].Key), Size: n, Limit: maxRecord}
		}
	}
	return nil
}
