package opcua

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/connectors/opcua/pki"
	"github.com/plantloom/plantloom/connectors/opcua/wire"
)

const binaryTransport = "uatcp-uasc-uabinary"

// dial opens a channel to the chosen endpoint and returns it. The endpoint is remembered while it works; after a
// failure the server is asked anew, since its certificate or its offers may have changed.
func (s *Source) dial(ctx context.Context) (*wire.Channel, *ua.EndpointDescription, error) {
	e := s.endpoint
	s.endpoint = nil
	if e == nil {
		offers, err := s.discover(ctx)
		if err != nil {
			return nil, nil, err
		}
		if e, err = s.cfg.choose(offers); err != nil {
			return nil, nil, err
		}
	}
	cfg := s.channelConfig()
	cfg.EndpointURL, cfg.PolicyURI, cfg.Mode = e.EndpointURL, e.SecurityPolicyURI, e.SecurityMode
	if secured(e) {
		if err := pki.Check(s.pkiDir, e.ServerCertificate, applicationURI(e), s.host.Now()); err != nil {
			return nil, nil, err
		}
		own, err := s.identity()
		if err != nil {
			return nil, nil, err
		}
		s.host.Gauge("certificate_days_left", own.NotAfter.Sub(s.host.Now()).Hours()/24)
		cfg.Certificate, cfg.Key, cfg.PeerCert = own.DER, own.Key, e.ServerCertificate
	}
	ch, err := wire.Dial(ctx, cfg)
	if err != nil {
		return nil, nil, s.explainChannel(err, secured(e), cfg.Certificate)
	}
	s.endpoint = e
	return ch, e, nil
}

func (s *Source) channelConfig() wire.Config {
	return wire.Config{
		Address: s.address, Lifetime: s.cfg.ChannelLifetime, ConnectTimeout: s.cfg.ConnectTimeout,
		CallTimeout: s.cfg.CallTimeout, MaxMessageSize: int(s.cfg.MaxMessage), Now: s.host.Now,
	}
}

// identity is our certificate, made at the first use.
func (s *Source) identity() (pki.Identity, error) {
	own, err := pki.Own(s.pkiDir, s.applicationURI, s.hosts, s.host.Now())
	if err != nil {
		return pki.Identity{}, fmt.Errorf("preparing our certificate: %w", err)
	}
	return own, nil
}

// explainChannel says what a person can do when a channel is refused. Servers that do not know a client's certificate
// mostly just hang up.
func (s *Source) explainChannel(err error, secured bool, cert []byte) error {
	refused := []ua.StatusCode{
		ua.StatusBadSecurityChecksFailed, ua.StatusBadCertificateUntrusted, ua.StatusBadCertificateInvalid,
		ua.StatusBadCertificateChainIncomplete, ua.StatusBadCertificateURIInvalid, ua.StatusBadCertificateUseNotAllowed,
	}
	_, reached := errors.AsType[*wire.OpenError](err)
	hint := reached && (slices.ContainsFunc(refused, func(c ua.StatusCode) bool { return errors.Is(err, c) }) || errors.Is(err, io.EOF))
	if !secured || !hint {
		return fmt.Errorf("connecting to %s: %w", s.cfg.Endpoint, err)
	}
	return fmt.Errorf("connecting to %s: the server refused our certificate (thumbprint %s, application URI %s): have it trusted on the server, often by moving it from a folder rejected to one named trusted: %w",
		s.cfg.Endpoint, pki.Thumbprint(cert), s.applicationURI, err)
}

// discover asks which endpoints the server offers. This runs unsecured; what it says is checked against the trusted
// certificate, and again when the session is created.
func (s *Source) discover(ctx context.Context) ([]*ua.EndpointDescription, error) {
	cfg := s.channelConfig()
	cfg.EndpointURL, cfg.PolicyURI, cfg.Mode = s.cfg.Endpoint, ua.SecurityPolicyURINone, ua.MessageSecurityModeNone
	ch, err := wire.Dial(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", s.cfg.Endpoint, err)
	}
	defer ch.Close()
	v, err := ch.Call(ctx, nil, &ua.GetEndpointsRequest{EndpointURL: s.cfg.Endpoint})
	if err != nil {
		return nil, fmt.Errorf("asking %s for its endpoints: %w", s.cfg.Endpoint, err)
	}
	resp, ok := v.(*ua.GetEndpointsResponse)
	if !ok {
		return nil, fmt.Errorf("asking %s for its endpoints: %w", s.cfg.Endpoint, ua.StatusBadUnknownResponse)
	}
	return resp.Endpoints, nil
}

// choose picks the endpoint. It never falls back to None on its own.
func (c Config) choose(offers []*ua.EndpointDescription) (*ua.EndpointDescription, error) {
	policies := []Policy{Aes256, Aes128, Basic256}
	if c.Security.Policy != PolicyAuto {
		policies = []Policy{c.Security.Policy}
	} else if c.Security.AllowInsecure {
		policies = append(policies, PolicyNone)
	}
	for _, p := range policies {
		mode := c.Security.Mode.wire()
		if p == PolicyNone {
			mode = ua.MessageSecurityModeNone
		}
		var fit []*ua.EndpointDescription
		for _, e := range offers {
			if e != nil && e.SecurityPolicyURI == p.policyURI() && e.SecurityMode == mode &&
				(e.TransportProfileURI == "" || strings.Contains(e.TransportProfileURI, binaryTransport)) {
				fit = append(fit, e)
			}
		}
		if len(fit) > 0 {
			return c.nearest(fit), nil
		}
	}
	return nil, c.noEndpoint(offers)
}

// nearest prefers the endpoint that is advertised with the host that we dial. One without a URL gets ours.
func (c Config) nearest(fit []*ua.EndpointDescription) *ua.EndpointDescription {
	out := *fit[0]
	if want, err := url.Parse(c.Endpoint); err == nil {
		for _, e := range fit {
			if u, err := url.Parse(e.EndpointURL); err == nil && strings.EqualFold(u.Host, want.Host) {
				out = *e
				break
			}
		}
	}
	if out.EndpointURL == "" {
		out.EndpointURL = c.Endpoint
	}
	return &out
}

func (c Config) noEndpoint(offers []*ua.EndpointDescription) error {
	var have []string
	onlyNone := len(offers) > 0
	for _, e := range offers {
		if e == nil {
			continue
		}
		name := policyName(e.SecurityPolicyURI)
		if e.SecurityPolicyURI != ua.SecurityPolicyURINone {
			onlyNone = false
			name += "/" + strings.TrimPrefix(e.SecurityMode.String(), "MessageSecurityMode")
		}
		if !slices.Contains(have, name) {
			have = append(have, name)
		}
	}
	offered := strings.Join(have, ", ")
	if onlyNone {
		return fmt.Errorf("%s offers no secured connection (only None): switch one on at the server, or set security: {allow_insecure: true} if everybody on that network may read and write along", c.Endpoint)
	}
	return fmt.Errorf("%s offers %s, and none of them fits policy %s with mode %s: change one of the two", c.Endpoint, offered, c.Security.Policy, c.Security.Mode)
}

func secured(e *ua.EndpointDescription) bool { return e.SecurityPolicyURI != ua.SecurityPolicyURINone }

func applicationURI(e *ua.EndpointDescription) string {
	if e.Server == nil {
		return ""
	}
	return e.Server.ApplicationURI
}

// sameOffer checks what the server says inside the secured session against what it said in the open: a list that was
// changed on its way could have led us to a weaker endpoint.
func (c Config) sameOffer(chosen *ua.EndpointDescription, again []*ua.EndpointDescription) error {
	if len(again) == 0 {
		return nil // some small servers leave it out
	}
	best, err := c.choose(again)
	if err != nil {
		return fmt.Errorf("the endpoints changed between discovery and session: %w", err)
	}
	if best.SecurityPolicyURI != chosen.SecurityPolicyURI || best.SecurityMode != chosen.SecurityMode ||
		len(best.ServerCertificate) > 0 && !bytes.Equal(best.ServerCertificate, chosen.ServerCertificate) {
		return errors.New("the server offers another endpoint inside the session than in the open; somebody may have changed the list on its way, or it was just reconfigured")
	}
	return nil
}

// timeOr returns the first time that is not zero.
func timeOr(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}
