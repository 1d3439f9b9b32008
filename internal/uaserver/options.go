package uaserver

import (
	"errors"
	"log/slog"
	"time"

	"github.com/gopcua/opcua/ua"
)

// Options configure a server. Now is required; everything else has a default.
type Options struct {
	// Addr is the TCP address to listen on; port 0 picks a free one.
	// Default "127.0.0.1:0".
	Addr string
	// EndpointURL is what GetEndpoints and CreateSession advertise. Default
	// opc.tcp:// and the address that was bound.
	EndpointURL string
	// NamespaceURI is the namespace of the variables that Add creates. Default
	// "urn:plantloom:uaserver".
	NamespaceURI string
	// ExtraNamespaces are listed before NamespaceURI and so shift its index.
	ExtraNamespaces []string
	// ApplicationURI names the server (namespace 1, and the certificate's URI).
	// Default: NamespaceURI + ":server".
	ApplicationURI string

	// Users maps user names to passwords. Empty means anonymous only.
	Users map[string]string
	// NoAnonymous refuses anonymous sessions.
	NoAnonymous bool

	// Secure adds Basic256Sha256 endpoints (Sign, SignAndEncrypt). Any client
	// certificate is accepted.
	Secure bool
	// SecureOnly also refuses sessions on unsecured channels.
	SecureOnly bool
	// CertFile and KeyFile are PEM files. When empty and Secure is set, a
	// self-signed RSA-2048 certificate is generated.
	CertFile, KeyFile string

	// Lean serves the same services without gopcua's server package, and so
	// without the standard nodes that this package does not define itself (the
	// type system). It starts in a millisecond instead of parsing 3 MB of XML
	// for 0.3 s (1.6 s under the race detector): for tests.
	Lean bool

	Limits Limits
	// Log receives connects, sessions and subscriptions. Default: discarded.
	Log *slog.Logger
	// Now is the clock of server timestamps, publish times and history.
	Now func() time.Time
	// History answers HistoryRead and receives the values of variables with
	// Historize set. Nil: no history.
	History HistoryStore
	// OnWrite, when set, decides on the writes of one Write request that passed
	// the access and type checks. It returns one status per write and applies
	// what it accepts by Set or Update itself. It runs on the connection's
	// goroutine, outside the server's lock. Hooks set by Var.OnWrite are not
	// called then.
	OnWrite func([]Write) []ua.StatusCode
}

// Write is one value that a client wants to write.
type Write struct {
	Var   *Var
	Value any
}

// Limits bound what clients may use and what the server grants. Zero fields
// take the defaults that are named.
type Limits struct {
	MaxNodesPerRead, MaxNodesPerWrite, MaxNodesPerBrowse uint32        // 1000
	MaxMonitoredItemsPerCall                             uint32        // 1000
	MaxNodesPerHistoryRead                               uint32        // 100
	MaxHistoryValues                                     uint32        // per node and page: 1000
	MaxHistoryContinuationPoints                         int           // per session: 100
	MaxReferencesPerNode                                 uint32        // 1000
	MaxSessions                                          int           // 100
	MaxSubscriptionsPerSession                           int           // 100
	MaxMonitoredItemsPerSubscription                     int           // 100000
	MaxPublishRequests                                   int           // queued per session: 20
	MaxQueueSize                                         uint32        // values per monitored item: 1000
	MaxNotificationsPerPublish                           uint32        // 0: only the client's limit
	MaxRetransmission                                    int           // messages kept per subscription: 100
	MaxKeepAliveCount                                    uint32        // 10000
	MaxLifetimeCount                                     uint32        // 100000
	MinPublishingInterval                                time.Duration // 10 ms
	MaxPublishingInterval                                time.Duration // 1 h
	MinSamplingInterval                                  time.Duration // 0: by exception when asked for 0
	MinSessionTimeout, MaxSessionTimeout                 time.Duration // 100 ms, 1 h
	// FirstSequenceNumber starts the notification messages of new
	// subscriptions, for tests of the wrap from 4294967295 to 1. Default 1.
	FirstSequenceNumber uint32
}

func orElse[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (l *Limits) setDefaults() {
	for _, v := range []*uint32{
		&l.MaxNodesPerRead, &l.MaxNodesPerWrite, &l.MaxNodesPerBrowse,
		&l.MaxMonitoredItemsPerCall, &l.MaxHistoryValues, &l.MaxReferencesPerNode, &l.MaxQueueSize,
	} {
		orElse(v, 1000)
	}
	orElse(&l.MaxNodesPerHistoryRead, 100)
	orElse(&l.MaxHistoryContinuationPoints, 100)
	orElse(&l.MaxSessions, 100)
	orElse(&l.MaxSubscriptionsPerSession, 100)
	orElse(&l.MaxMonitoredItemsPerSubscription, 100_000)
	orElse(&l.MaxPublishRequests, 20)
	orElse(&l.MaxRetransmission, 100)
	orElse(&l.MaxKeepAliveCount, 10_000)
	orElse(&l.MaxLifetimeCount, 100_000)
	orElse(&l.MinPublishingInterval, 10*time.Millisecond)
	orElse(&l.MaxPublishingInterval, time.Hour)
	orElse(&l.MinSessionTimeout, 100*time.Millisecond)
	orElse(&l.MaxSessionTimeout, time.Hour)
	orElse(&l.FirstSequenceNumber, 1)
}

func (o *Options) setDefaults() error {
	if o.Now == nil {
		return errors.New("uaserver: Options.Now is required")
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		return errors.New("uaserver: CertFile and KeyFile go together")
	}
	orElse(&o.Addr, "127.0.0.1:0")
	orElse(&o.NamespaceURI, "urn:plantloom:uaserver")
	orElse(&o.ApplicationURI, o.NamespaceURI+":server")
	if o.SecureOnly {
		o.Secure = true
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Limits.setDefaults()
	return nil
}
