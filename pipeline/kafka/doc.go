// Package kafka is Plantloom's legs over Kafka: an idempotent producer, a transactional producer that fences older
// owners, a read-committed fetcher, topics, offsets, and the wire form of events and dead letters.
//
// It is the only package that imports kafka-go, and it uses only that library's protocol layer: its Writer loses order
// and doubles records after a lost acknowledgement, its Reader hands out aborted records. It never creates a topic by
// accident, never jumps over a record in silence and never reports a write as durable that is not. It may be imported
// by the packages of pipeline and by the gateway, never by connectors or the mapping.
package kafka
