package uaserver

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"time"

	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uapolicy"
)

// loadCertificate reads the server's key pair or makes one.
func (s *Server) loadCertificate() error {
	if s.opts.CertFile == "" {
		return s.generateCertificate()
	}
	pair, err := tls.LoadX509KeyPair(s.opts.CertFile, s.opts.KeyFile)
	if err != nil {
		return fmt.Errorf("reading the server's certificate: %w", err)
	}
	key, ok := pair.PrivateKey.(*rsa.PrivateKey)
	if !ok {
		return errors.New("reading the server's certificate: the key is not RSA")
	}
	s.cert, s.key = pair.Certificate[0], key
	return nil
}

// generateCertificate makes a self-signed application certificate with the
// fields that Part 6, 6.2.2 asks for, valid for a year.
func (s *Server) generateCertificate() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("generating a key: %w", err)
	}
	uri, err := url.Parse(s.opts.ApplicationURI)
	if err != nil {
		return fmt.Errorf("application URI: %w", err)
	}
	now := s.opts.Now()
	tpl := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: "Plantloom demo OPC UA server", Organization: []string{"Plantloom demo"}},
		NotBefore:    now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment |
			x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{uri}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		BasicConstraintsValid: true,
	}
	if s.cert, err = x509.CreateCertificate(rand.Reader, tpl, tpl, &key.PublicKey, key); err != nil {
		return fmt.Errorf("generating a certificate: %w", err)
	}
	s.key = key
	return nil
}

// Certificate returns the server's certificate in DER, nil without Secure.
func (s *Server) Certificate() []byte { return s.cert }

// checkPassword decrypts and compares a password (Part 4, 7.40.2.2: length,
// password, server nonce).
func (s *Server) checkPassword(t *ua.UserNameIdentityToken, nonce []byte) error {
	password := t.Password
	if s.cert != nil {
		alg, err := uapolicy.Asymmetric(s.passwordPolicy(), s.key, &s.key.PublicKey)
		if err != nil {
			return ua.StatusBadInternalError
		}
		plain, err := alg.Decrypt(t.Password)
		if err != nil || len(plain) < 4 {
			return ua.StatusBadIdentityTokenInvalid
		}
		n := int(binary.LittleEndian.Uint32(plain))
		if n != len(plain)-4 || n < len(nonce) || string(plain[4+n-len(nonce):]) != string(nonce) {
			return ua.StatusBadIdentityTokenInvalid
		}
		password = plain[4 : 4+n-len(nonce)]
	}
	want, known := s.opts.Users[t.UserName]
	if subtle.ConstantTimeCompare([]byte(want), password) != 1 || !known {
		return ua.StatusBadUserAccessDenied
	}
	return nil
}
