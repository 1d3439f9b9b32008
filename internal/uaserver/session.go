package uaserver

import (
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"github.com/gopcua/opcua/ua"
)

// nonceLength is that of session nonces (Part 4, 5.7.2: at least 32 bytes).
const nonceLength = 32

// session is a client's session. It outlives its connection: a client may
// activate it on a new channel until it times out. Guarded by Server.mu.
type session struct {
	s          *Server
	id, token  *ua.NodeID
	name, user string
	nonce      []byte
	clientCert []byte
	timeout    time.Duration
	timer      *time.Timer
	conn       *conn
	activated  bool

	publish []*publishRequest // oldest first
	notices []notice          // StatusChange messages of subscriptions that left
	browse  map[string]browseRest
	history map[string]historyRest
}

// session returns the session that a request belongs to and restarts its
// time-out. The caller holds Server.mu.
func (s *Server) session(cl *call) (*session, error) {
	sess := s.sessionByToken(cl)
	switch {
	case sess == nil:
		return nil, ua.StatusBadSessionIDInvalid
	case !sess.activated:
		return nil, ua.StatusBadSessionNotActivated
	case sess.conn != cl.conn:
		return nil, ua.StatusBadSecureChannelIDInvalid
	}
	sess.timer.Reset(sess.timeout)
	return sess, nil
}

func (s *Server) sessionByToken(cl *call) *session {
	h := cl.req.Header()
	if h == nil || h.AuthenticationToken == nil {
		return nil
	}
	return s.sessions[h.AuthenticationToken.String()]
}

// createSession answers CreateSession (Part 4, 5.7.2).
func (s *Server) createSession(cl *call) (ua.Response, error) {
	req := cl.req.(*ua.CreateSessionRequest)
	policy := cl.conn.securityPolicy()
	if !slices.ContainsFunc(s.endpoints(), func(e *ua.EndpointDescription) bool { return e.SecurityPolicyURI == policy }) {
		return nil, ua.StatusBadSecurityPolicyRejected
	}
	cl.conn.sendMu.Lock() // the channel's keys must not change while signing
	sig, alg, err := cl.sc.NewSessionSignature(req.ClientCertificate, req.ClientNonce)
	cl.conn.sendMu.Unlock()
	if err != nil {
		return nil, ua.StatusBadSecurityChecksFailed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	lim := &s.opts.Limits
	if s.closed {
		return nil, ua.StatusBadShutdown
	}
	if len(s.sessions) >= lim.MaxSessions {
		return nil, ua.StatusBadTooManySessions
	}
	sess := &session{
		s: s, name: req.SessionName, nonce: nonce(), clientCert: req.ClientCertificate, conn: cl.conn,
		id: ua.NewByteStringNodeID(1, nonce()[:16]), token: ua.NewByteStringNodeID(0, nonce()),
		timeout: clamp(time.Duration(req.RequestedSessionTimeout*float64(time.Millisecond)), lim.MinSessionTimeout, lim.MaxSessionTimeout),
		browse:  map[string]browseRest{}, history: map[string]historyRest{},
	}
	sess.timer = time.AfterFunc(sess.timeout, func() { s.expire(sess) })
	s.sessions[sess.token.String()] = sess
	s.log.Info("session created", "session", sess.name, "timeout", sess.timeout)
	return &ua.CreateSessionResponse{
		ResponseHeader: cl.header(ua.StatusOK), SessionID: sess.id, AuthenticationToken: sess.token,
		RevisedSessionTimeout: float64(sess.timeout) / float64(time.Millisecond),
		ServerNonce:           sess.nonce, ServerCertificate: s.cert, ServerEndpoints: s.endpoints(),
		ServerSoftwareCertificates: []*ua.SignedSoftwareCertificate{},
		ServerSignature:            &ua.SignatureData{Algorithm: alg, Signature: sig},
	}, nil
}

// clamp bounds a requested duration; nonsense (0, negative, overflow) becomes
// the upper bound as Part 4, 5.7.2 leaves to the server.
func clamp(d, low, high time.Duration) time.Duration {
	if d <= 0 || d > high {
		return high
	}
	return max(d, low)
}

func nonce() []byte {
	b := make([]byte, nonceLength)
	_, _ = rand.Read(b) // crypto/rand never fails
	return b
}

// activateSession answers ActivateSession (Part 4, 5.7.3): first on the
// channel that created the session, later on any channel for the same user.
func (s *Server) activateSession(cl *call) (ua.Response, error) {
	req := cl.req.(*ua.ActivateSessionRequest)
	if err := s.checkSignature(cl, req); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sess := s.sessionByToken(cl)
	if sess == nil {
		return nil, ua.StatusBadSessionIDInvalid
	}
	if !sess.activated && sess.conn != cl.conn {
		return nil, ua.StatusBadSessionNotActivated
	}
	user, err := s.login(sess, req.UserIdentityToken)
	if err != nil {
		return nil, err
	}
	if sess.activated && user != sess.user {
		return nil, ua.StatusBadIdentityChangeNotSupported
	}
	if sess.conn != cl.conn {
		sess.abandonPublishing()
		s.log.Info("session moved to a new channel", "session", sess.name)
	}
	sess.conn, sess.user, sess.activated, sess.nonce = cl.conn, user, true, nonce()
	sess.timer.Reset(sess.timeout)
	return &ua.ActivateSessionResponse{
		ResponseHeader: cl.header(ua.StatusOK), ServerNonce: sess.nonce,
		Results: []ua.StatusCode{}, DiagnosticInfos: []*ua.DiagnosticInfo{},
	}, nil
}

// checkSignature verifies the client's signature over the server's nonce. It
// takes the connection's send lock, which a stalled client may hold for long,
// and so never runs under Server.mu.
func (s *Server) checkSignature(cl *call, req *ua.ActivateSessionRequest) error {
	s.mu.Lock()
	sess := s.sessionByToken(cl)
	var cert, nonce []byte
	if sess != nil {
		cert, nonce = sess.clientCert, sess.nonce
	}
	s.mu.Unlock()
	if sess == nil {
		return ua.StatusBadSessionIDInvalid
	}
	var sig []byte
	if req.ClientSignature != nil {
		sig = req.ClientSignature.Signature
	}
	cl.conn.sendMu.Lock()
	defer cl.conn.sendMu.Unlock()
	if err := cl.sc.VerifySessionSignature(cert, nonce, sig); err != nil {
		return ua.StatusBadApplicationSignatureInvalid
	}
	return nil
}

// login returns the user's name, "" for anonymous.
func (s *Server) login(sess *session, token *ua.ExtensionObject) (string, error) {
	var tok any
	if token != nil {
		tok = token.Value
	}
	switch t := tok.(type) {
	case nil:
		return s.anonymous("")
	case *ua.AnonymousIdentityToken:
		return s.anonymous(t.PolicyID)
	case *ua.UserNameIdentityToken:
		if t.PolicyID != policyUser || len(s.opts.Users) == 0 {
			return "", ua.StatusBadIdentityTokenInvalid
		}
		return t.UserName, s.checkPassword(t, sess.nonce)
	}
	return "", ua.StatusBadIdentityTokenInvalid
}

func (s *Server) anonymous(policyID string) (string, error) {
	if s.opts.NoAnonymous {
		return "", ua.StatusBadIdentityTokenRejected
	}
	if policyID != "" && !strings.EqualFold(policyID, policyAnonymous) {
		return "", ua.StatusBadIdentityTokenInvalid
	}
	return "", nil
}

// closeSession answers CloseSession (Part 4, 5.7.4). Subscriptions that are
// not deleted wait for a transfer until their lifetime ends.
func (s *Server) closeSession(cl *call) (ua.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sess := s.sessionByToken(cl)
	if sess == nil {
		return nil, ua.StatusBadSessionIDInvalid
	}
	if sess.conn != cl.conn {
		return nil, ua.StatusBadSecureChannelIDInvalid
	}
	s.end(sess, cl.req.(*ua.CloseSessionRequest).DeleteSubscriptions, ua.StatusBadSessionClosed)
	return &ua.CloseSessionResponse{ResponseHeader: cl.header(ua.StatusOK)}, nil
}

// expire ends a session whose client was silent for too long.
func (s *Server) expire(sess *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[sess.token.String()] == sess {
		s.end(sess, false, ua.StatusBadSessionClosed)
		s.log.Info("session timed out", "session", sess.name)
	}
}

// ExpireSessions ends every session as if its time-out had passed;
// subscriptions stay for a transfer.
func (s *Server) ExpireSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sess := range s.sessions {
		s.end(sess, false, ua.StatusBadSessionClosed)
	}
}

// end removes the session. The caller holds Server.mu.
func (s *Server) end(sess *session, deleteSubscriptions bool, code ua.StatusCode) {
	delete(s.sessions, sess.token.String())
	sess.timer.Stop()
	sess.failPublishing(code)
	for _, sub := range s.subs {
		if sub.session != sess {
			continue
		}
		sub.session = nil
		if deleteSubscriptions {
			sub.remove()
		}
	}
}

// connClosed forgets what was to be answered on a lost connection.
func (s *Server) connClosed(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, sess := range s.sessions {
		if sess.conn != c {
			continue
		}
		sess.abandonPublishing()
		if !sess.activated { // it can never be activated elsewhere
			sess.timer.Stop()
			delete(s.sessions, key)
		}
	}
}
