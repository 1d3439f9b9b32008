package gateway

import (
	"cmp"
	"time"
)

// limits bound what the API keeps and how long it waits.
type limits struct {
	streams  int           // open streams of all clients together
	patience time.Duration // Kafka may be away so long before streams end and readiness is lost
	tick     time.Duration // how often a stream looks after Kafka and its heartbeat
	ping     time.Duration // between heartbeats of an idle Server-Sent Events stream
	stall    time.Duration // a client that does not read for so long is cut off; it resumes where it was
	grace    time.Duration // for calls under way when we stop

	orders      int           // in view
	facts       int           // event ids remembered, of all orders together
	closedFor   time.Duration // a closed order's event ids are remembered for so long
	dead        int           // dead letters in view
	deadBytes   int           // their size
	deadFor     time.Duration // their age; what the topics keep
	statusReads int64         // status reports read at start, the newest ones
}

// maxAnswer bounds one answer of a unary call, bytes; a page ends early at pageBytes.
const (
	maxAnswer = 64 << 20
	pageBytes = 3 << 20 // below the 4 MiB that gRPC clients accept by default
)

func (l limits) orDefault() limits {
	l.streams = cmp.Or(l.streams, 100)
	l.patience = cmp.Or(l.patience, 5*time.Second)
	l.tick = cmp.Or(l.tick, time.Second)
	l.ping = cmp.Or(l.ping, 15*time.Second)
	l.stall = cmp.Or(l.stall, 30*time.Second)
	l.grace = cmp.Or(l.grace, time.Second)
	l.orders = cmp.Or(l.orders, 20_000)
	l.facts = cmp.Or(l.facts, 200_000)
	l.closedFor = cmp.Or(l.closedFor, 24*time.Hour)
	l.dead = cmp.Or(l.dead, 10_000)
	l.deadBytes = cmp.Or(l.deadBytes, 64<<20)
	l.deadFor = cmp.Or(l.deadFor, 30*24*time.Hour)
	l.statusReads = cmp.Or(l.statusReads, 20_000)
	return l
}
