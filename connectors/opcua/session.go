package opcua

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/connectors/opcua/pki"
	"github.com/plantloom/plantloom/connectors/opcua/wire"
)

// session is a session on the server. It outlives its channel: after a cut it is activated on the next one. It is
// kept in memory only, since its token is a secret.
type session struct {
	endpoint *ua.EndpointDescription
	auth     *ua.NodeID
	cert     []byte // the server's, as it sent it
	nonce    []byte // the server's newest
	timeout  time.Duration
}

// connect returns a link with an activated session: the one of before when the server still knows it.
func (s *Source) connect(ctx context.Context) (*link, error) {
	ch, e, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	l := &link{
		ch: ch, endpoint: e, host: s.host, types: map[int]nodeType{},
		replies: make(chan wire.Reply, maxOutstanding+1), sent: map[uint32][]*ua.SubscriptionAcknowledgement{},
	}
	if err := s.login(ctx, l); err != nil {
		ch.Close()
		return nil, err
	}
	if err := l.learn(ctx); err != nil {
		ch.Close()
		if sessionLost(err) {
			s.session = nil
		}
		return nil, fmt.Errorf("reading the server's state from %s: %w", s.cfg.Endpoint, err)
	}
	l.serverURI = applicationURI(e)
	return l, nil
}

// login activates the session of before, or creates one.
func (s *Source) login(ctx context.Context, l *link) error {
	if old := s.session; old != nil && old.endpoint.SecurityPolicyURI == l.endpoint.SecurityPolicyURI && old.endpoint.SecurityMode == l.endpoint.SecurityMode {
		err := s.activate(ctx, l.ch, old)
		if err == nil {
			l.auth, l.resumed = old.auth, true
			s.host.Count("sessions_reactivated", 1)
			return nil
		}
		if _, answered := errors.AsType[ua.StatusCode](err); !answered || l.ch.Err() != nil {
			return fmt.Errorf("activating the session on %s: %w", s.cfg.Endpoint, err)
		}
	}
	s.session = nil
	sess, err := s.create(ctx, l.ch, l.endpoint)
	if err != nil {
		return fmt.Errorf("creating a session on %s: %w", s.cfg.Endpoint, explainSession(err))
	}
	if err := s.activate(ctx, l.ch, sess); err != nil {
		return fmt.Errorf("logging in to %s: %w", s.cfg.Endpoint, s.explainLogin(err))
	}
	s.session, l.auth = sess, sess.auth
	s.host.Count("sessions_created", 1)
	return nil
}

func (s *Source) create(ctx context.Context, ch *wire.Channel, e *ua.EndpointDescription) (*session, error) {
	nonce := make([]byte, 32)
	_, _ = rand.Read(nonce) // never fails
	var own pki.Identity
	var err error
	if secured(e) {
		if own, err = s.identity(); err != nil {
			return nil, err
		}
	}
	v, err := ch.Call(ctx, nil, &ua.CreateSessionRequest{
		ClientDescription: &ua.ApplicationDescription{
			ApplicationURI: s.applicationURI, ProductURI: "urn:plantloom", ApplicationType: ua.ApplicationTypeClient,
			ApplicationName: ua.NewLocalizedText("Plantloom"),
		},
		EndpointURL: e.EndpointURL, SessionName: "plantloom " + s.host.ID, ClientNonce: nonce, ClientCertificate: own.DER,
		RequestedSessionTimeout: milliseconds(s.cfg.SessionTimeout), MaxResponseMessageSize: uint32(s.cfg.MaxMessage),
	})
	if err != nil {
		return nil, err
	}
	resp, ok := v.(*ua.CreateSessionResponse)
	if !ok || resp.AuthenticationToken == nil {
		return nil, ua.StatusBadUnknownResponse
	}
	if secured(e) {
		if err := verify(resp, e, own, nonce); err != nil {
			return nil, err
		}
	}
	if err := s.cfg.sameOffer(e, resp.ServerEndpoints); err != nil {
		return nil, err
	}
	timeout := time.Duration(resp.RevisedSessionTimeout * float64(time.Millisecond))
	if timeout <= 0 || timeout > s.cfg.SessionTimeout {
		timeout = s.cfg.SessionTimeout
	}
	return &session{endpoint: e, auth: resp.AuthenticationToken, cert: resp.ServerCertificate, nonce: resp.ServerNonce, timeout: timeout}, nil
}

// verify checks that the session is with the owner of the endpoint's certificate.
func verify(resp *ua.CreateSessionResponse, e *ua.EndpointDescription, own pki.Identity, nonce []byte) error {
	// One of them may be a chain, which begins with the server's own.
	if len(resp.ServerCertificate) == 0 || !bytes.HasPrefix(resp.ServerCertificate, e.ServerCertificate) && !bytes.HasPrefix(e.ServerCertificate, resp.ServerCertificate) {
		return fmt.Errorf("the session's certificate is not the endpoint's: %w", ua.StatusBadCertificateInvalid)
	}
	algo, err := wire.Asymmetric(e.SecurityPolicyURI, own.Key, e.ServerCertificate)
	if err != nil {
		return err
	}
	var signature []byte
	if resp.ServerSignature != nil {
		signature = resp.ServerSignature.Signature
	}
	if err := algo.VerifySignature(join(own.DER, nonce), signature); err != nil {
		return fmt.Errorf("the server's signature is wrong: %w", ua.StatusBadApplicationSignatureInvalid)
	}
	return nil
}

// activate logs in, or moves the session to this channel.
func (s *Source) activate(ctx context.Context, ch *wire.Channel, sess *session) error {
	req := &ua.ActivateSessionRequest{
		ClientSignature: &ua.SignatureData{}, UserTokenSignature: &ua.SignatureData{}, LocaleIDs: []string{"en"},
	}
	if secured(sess.endpoint) {
		own, err := s.identity()
		if err != nil {
			return err
		}
		if req.ClientSignature, err = sign(sess.endpoint.SecurityPolicyURI, own, sess); err != nil {
			return err
		}
	}
	if err := s.user(req, sess); err != nil {
		return err
	}
	v, err := ch.Call(ctx, sess.auth, req)
	if err != nil {
		return err
	}
	resp, ok := v.(*ua.ActivateSessionResponse)
	if !ok {
		return ua.StatusBadUnknownResponse
	}
	sess.nonce = resp.ServerNonce
	return nil
}

// sign proves to the server that we own a certificate.
func sign(policy string, id pki.Identity, sess *session) (*ua.SignatureData, error) {
	algo, err := wire.Asymmetric(policy, id.Key, sess.cert)
	if err != nil {
		return nil, err
	}
	sig, err := algo.Signature(join(sess.cert, sess.nonce))
	if err != nil {
		return nil, err
	}
	return &ua.SignatureData{Algorithm: algo.SignatureURI(), Signature: sig}, nil
}

func explainSession(err error) error {
	if errors.Is(err, ua.StatusBadTooManySessions) {
		return fmt.Errorf("all of the server's sessions are taken; close other clients, or wait until abandoned sessions time out: %w", err)
	}
	return err
}

// sessionLost reports that the server does not know the session any more.
func sessionLost(err error) bool {
	return errors.Is(err, ua.StatusBadSessionIDInvalid) || errors.Is(err, ua.StatusBadSessionClosed) ||
		errors.Is(err, ua.StatusBadSessionNotActivated)
}

// join concatenates into new memory.
func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
