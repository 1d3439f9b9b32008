package opcua

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/pipeline"
)

// Source is an OPC UA source. Run and Execute may run at the same time; Run is called again after it returned.
type Source struct {
	cfg            Config
	host           pipeline.Host
	address        string // host:port
	pkiDir         string
	applicationURI string
	hosts          []string // of our certificate
	nodes          []address
	index          map[string]int // tag id to its place in host.Tags, which is also its client handle
	hash           string         // of the tag list

	// Kept between calls of Run, which alone uses it.
	endpoint *ua.EndpointDescription
	session  *session
	rec      *record
	saved    []byte          // the cursor that rec was saved as
	refused  map[int]refusal // by tag

	mu   sync.Mutex
	live *link // nil while there is no session
}

// refusal is why the server gives no values of a tag.
type refusal struct {
	code      pipeline.Quality
	why       string
	announced bool // a Bad sample says so
}

var (
	_ pipeline.Source    = (*Source)(nil)
	_ pipeline.Commander = (*Source)(nil)
)

// orderlyEnd bounds saying goodbye to the server; Run must return within a second of its context's end.
const orderlyEnd = 400 * time.Millisecond

// New builds a source. It reads every address and connects to nothing.
func New(cfg Config, h pipeline.Host) (pipeline.Source, error) {
	s := &Source{cfg: cfg, host: h, index: map[string]int{}, refused: map[int]refusal{}, hash: tagsHash(h.Tags)}
	var err error
	if s.address, err = cfg.address(); err != nil {
		return nil, err
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	var faults []error
	for i, t := range h.Tags {
		a, err := parseAddress(t.Address, cfg.AllowNSIndex)
		if err != nil {
			faults = append(faults, fmt.Errorf("tag %s: %w", t.ID, err))
		}
		if _, twice := s.index[t.ID]; twice {
			faults = append(faults, fmt.Errorf("tag %s stands twice in the tag list", t.ID))
		}
		s.nodes, s.index[t.ID] = append(s.nodes, a), i
	}
	if len(h.Tags) == 0 {
		faults = append(faults, errors.New("the tag list is empty"))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	s.pkiDir = filepath.Join(h.StateDir, "pki")
	if cfg.PKIDir != "" {
		s.pkiDir = s.path(cfg.PKIDir)
	}
	return s, s.names()
}

// names derives our application URI and the hosts of our certificate.
func (s *Source) names() error {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	s.hosts = []string{host, "localhost", "127.0.0.1"}
	if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
				s.hosts = append(s.hosts, n.IP.String())
			}
		}
	}
	s.applicationURI = s.cfg.ApplicationURI
	if s.applicationURI == "" {
		s.applicationURI = "urn:" + host + ":plantloom:" + s.host.ID
	}
	if _, err := url.Parse(s.applicationURI); err != nil {
		return fmt.Errorf("application_uri %q is not a URI", s.applicationURI)
	}
	return nil
}

// path resolves a file name of the configuration.
func (s *Source) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.host.Dir, name)
}

// Run implements pipeline.Source.
func (s *Source) Run(ctx context.Context, cursor []byte, out pipeline.Outlet) (err error) {
	defer func() { err = ended(ctx, err) }() // last: ctx may end while the connection is left
	if err := s.restore(cursor); err != nil {
		return err
	}
	l, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { s.leave(ctx, l) }()
	s.setLive(l)
	defer s.setLive(nil)
	for tries := 0; ; tries++ {
		delivered, err := s.serve(ctx, l, out)
		if ctx.Err() != nil {
			return nil
		}
		if sessionLost(err) {
			s.session = nil
		}
		if !subscriptionLost(err) || tries > 0 && !delivered {
			return err
		}
		s.host.Log.Warn("subscription lost, making a new one", "connector", s.host.ID, "err", err)
	}
}

// ended hides the errors that the end of ctx causes.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// restore takes the cursor over, unless it is what this value itself saved last.
func (s *Source) restore(cursor []byte) error {
	if s.rec != nil && bytes.Equal(cursor, s.saved) {
		return nil
	}
	s.saved = bytes.Clone(cursor)
	if cursor == nil {
		s.rec = &record{Last: make([]time.Time, len(s.host.Tags))}
		return nil
	}
	rec, err := decodeRecord(cursor, s.hash, len(s.host.Tags))
	if err != nil {
		return err
	}
	s.rec = rec
	return nil
}

// leave ends the link. Only at an orderly stop is the session closed: after an error it is activated again. The
// subscription stays on the server, unless configured otherwise, so that the next start loses nothing.
func (s *Source) leave(ctx context.Context, l *link) {
	if ctx.Err() != nil && l.ch.Err() == nil && s.session != nil {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), orderlyEnd)
		_, err := l.ch.Call(bye, l.auth, &ua.CloseSessionRequest{DeleteSubscriptions: !s.cfg.KeepSubscription})
		cancel()
		if err != nil {
			s.host.Log.Debug("the session was not closed, it will time out", "connector", s.host.ID, "err", err)
		}
		s.session = nil
	}
	l.ch.Close()
}

func (s *Source) setLive(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = l
}

// link returns the live link, nil when there is none.
func (s *Source) link() *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live != nil && s.live.ch.Err() != nil {
		return nil
	}
	return s.live
}

// report says how the source does.
func (s *Source) report(l *link) {
	st := pipeline.Status{State: pipeline.Running, Details: map[string]string{
		"endpoint": s.cfg.Endpoint, "security": policyName(l.endpoint.SecurityPolicyURI),
		"server": s.rec.ServerURI, "subscription": strconv.FormatUint(uint64(s.rec.Subscription), 10),
	}}
	if n := len(s.rec.Bad); n > 0 {
		first := s.rec.Bad[0]
		why := s.refused[first].why
		if why == "" {
			why = "refused before the last start"
		}
		st.State = pipeline.Degraded
		st.Reason = fmt.Sprintf("%d of %d tags do not work, for example %s at %s: %s; correct the address or the server, it is tried again by itself",
			n, len(s.host.Tags), s.host.Tags[first].ID, s.host.Tags[first].Address, why)
	}
	s.host.Gauge("tags_bad", float64(len(s.rec.Bad)))
	s.host.Report(st)
}
