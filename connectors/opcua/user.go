package opcua

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/connectors/opcua/pki"
	"github.com/plantloom/plantloom/connectors/opcua/wire"
)

// user fills in who logs in. Secrets are read anew each time.
func (s *Source) user(req *ua.ActivateSessionRequest, sess *session) error {
	kind := ua.UserTokenTypeAnonymous
	switch {
	case s.cfg.Auth.User != "":
		kind = ua.UserTokenTypeUserName
	case s.cfg.Auth.Certificate != "":
		kind = ua.UserTokenTypeCertificate
	}
	var policy *ua.UserTokenPolicy
	for _, p := range sess.endpoint.UserIdentityTokens {
		if p != nil && p.TokenType == kind {
			policy = p
			break
		}
	}
	if policy == nil {
		if kind == ua.UserTokenTypeAnonymous && len(sess.endpoint.UserIdentityTokens) == 0 {
			policy = &ua.UserTokenPolicy{}
		} else {
			return fmt.Errorf("the server does not accept %s: %w", loginName(kind), errLogin)
		}
	}
	uri := policy.SecurityPolicyURI
	if uri == "" {
		uri = sess.endpoint.SecurityPolicyURI
	}
	switch kind {
	case ua.UserTokenTypeUserName:
		return s.password(req, sess, policy.PolicyID, uri)
	case ua.UserTokenTypeCertificate:
		return s.certificate(req, sess, policy.PolicyID, uri)
	}
	req.UserIdentityToken = ua.NewExtensionObject(&ua.AnonymousIdentityToken{PolicyID: policy.PolicyID})
	return nil
}

var errLogin = errors.New("change auth, or what the server's users are allowed")

func loginName(kind ua.UserTokenType) string {
	switch kind {
	case ua.UserTokenTypeUserName:
		return "users with a password"
	case ua.UserTokenTypeCertificate:
		return "users with a certificate"
	}
	return "anonymous clients; set auth: {user: NAME, password: env:NAME}"
}

// password encrypts the password for the server. In the clear it travels only on an encrypted channel, or when an
// insecure connection was allowed.
func (s *Source) password(req *ua.ActivateSessionRequest, sess *session, policyID, uri string) error {
	secret, err := s.cfg.Auth.Password.Reveal()
	if err != nil {
		return err
	}
	tok := &ua.UserNameIdentityToken{PolicyID: policyID, UserName: s.cfg.Auth.User, Password: []byte(secret)}
	if uri == ua.SecurityPolicyURINone {
		if sess.endpoint.SecurityMode != ua.MessageSecurityModeSignAndEncrypt && !s.cfg.Security.AllowInsecure {
			return errors.New("the server wants the password in the clear on a connection that is not encrypted; set mode: SignAndEncrypt")
		}
		req.UserIdentityToken = ua.NewExtensionObject(tok)
		return nil
	}
	algo, err := wire.Asymmetric(uri, nil, sess.cert)
	if err != nil {
		return fmt.Errorf("encrypting the password: %w", err)
	}
	plain := binary.LittleEndian.AppendUint32(nil, uint32(len(secret)+len(sess.nonce)))
	if tok.Password, err = algo.Encrypt(join(plain, []byte(secret), sess.nonce)); err != nil {
		return fmt.Errorf("encrypting the password: %w", err)
	}
	tok.EncryptionAlgorithm = algo.EncryptionURI()
	req.UserIdentityToken = ua.NewExtensionObject(tok)
	return nil
}

func (s *Source) certificate(req *ua.ActivateSessionRequest, sess *session, policyID, uri string) error {
	raw, err := os.ReadFile(s.path(s.cfg.Auth.Certificate))
	if err != nil {
		return fmt.Errorf("reading the user's certificate: %w", err)
	}
	key, err := s.cfg.Auth.Key.Reveal()
	if err != nil {
		return err
	}
	id, err := pki.Pair(raw, []byte(key))
	if err != nil {
		return fmt.Errorf("the user's certificate: %w", err)
	}
	if uri != ua.SecurityPolicyURINone {
		if req.UserTokenSignature, err = sign(uri, id, sess); err != nil {
			return fmt.Errorf("signing with the user's certificate: %w", err)
		}
	}
	req.UserIdentityToken = ua.NewExtensionObject(&ua.X509IdentityToken{PolicyID: policyID, CertificateData: id.DER})
	return nil
}

// explainLogin turns the server's codes about the user into what a person can do.
func (s *Source) explainLogin(err error) error {
	for _, code := range []ua.StatusCode{ua.StatusBadUserAccessDenied, ua.StatusBadIdentityTokenRejected, ua.StatusBadIdentityTokenInvalid} {
		if !errors.Is(err, code) {
			continue
		}
		switch {
		case s.cfg.Auth.User != "":
			return fmt.Errorf("the server refused user %q: check the name, the password and that the account is enabled there: %w", s.cfg.Auth.User, err)
		case s.cfg.Auth.Certificate != "":
			return fmt.Errorf("the server refused the user certificate %s: have it trusted there: %w", s.cfg.Auth.Certificate, err)
		}
		return fmt.Errorf("the server refused %s: %w", loginName(ua.UserTokenTypeAnonymous), err)
	}
	return err
}
