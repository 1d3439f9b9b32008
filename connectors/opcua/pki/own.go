// Package pki keeps a connector's certificates in a folder: its own in own/, those of servers that a person trusts in
// trusted/, and those that were met and not trusted in rejected/.
//
// It never trusts anything by itself and never deletes a certificate: trusting is moving a file. Only
// connectors/opcua may import it.
package pki

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	keyBits = 2048
	// years is how long a generated certificate is valid; 2048 bits are approved until 2030 (NIST SP 800-57), after
	// which a person replaces the pair.
	years = 5
	// clockTolerance lets a server accept our new certificate although its clock is behind ours.
	clockTolerance = 24 * time.Hour
)

// Identity is an application certificate with its key.
type Identity struct {
	DER      []byte
	Key      *rsa.PrivateKey
	NotAfter time.Time
}

// Own returns the identity in dir/own, made at the first call. uri becomes the certificate's URI, which servers compare
// with the application URI; hosts become its DNS names and IP addresses.
func Own(dir, uri string, hosts []string, now time.Time) (Identity, error) {
	certFile, keyFile := filepath.Join(dir, "own", "cert.der"), filepath.Join(dir, "own", "key.pem")
	id, err := Load(certFile, keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(keyFile); err == nil {
			return Identity{}, fmt.Errorf("%s is missing beside %s: restore it, or move the key away to have both made anew", certFile, keyFile)
		}
		if err := generate(certFile, keyFile, uri, hosts, now); err != nil {
			return Identity{}, err
		}
		id, err = Load(certFile, keyFile)
	}
	if err != nil {
		return Identity{}, err
	}
	cert, err := x509.ParseCertificate(id.DER)
	if err != nil {
		return Identity{}, fmt.Errorf("reading %s: %w", certFile, err)
	}
	if now.After(cert.NotAfter) {
		return Identity{}, fmt.Errorf("our own certificate %s expired at %s: move own/ away to have a new one made, and have the server trust it", certFile, cert.NotAfter.UTC().Format(time.RFC3339))
	}
	if !slices.ContainsFunc(cert.URIs, func(u *url.URL) bool { return u.String() == uri }) {
		return Identity{}, fmt.Errorf("our own certificate %s is for %v, not for the application URI %q: set application_uri to it, or move own/ away to have a new one made", certFile, cert.URIs, uri)
	}
	return id, nil
}

// Load reads a certificate (DER or PEM) and its RSA key (PEM, PKCS #8 or #1).
func Load(certFile, keyFile string) (Identity, error) {
	raw, err := os.ReadFile(certFile)
	if err != nil {
		return Identity{}, fmt.Errorf("reading a certificate: %w", err)
	}
	text, err := os.ReadFile(keyFile)
	if err != nil {
		return Identity{}, fmt.Errorf("reading a key: %w", err)
	}
	id, err := Pair(raw, text)
	if err != nil {
		return Identity{}, fmt.Errorf("reading %s and %s: %w", certFile, keyFile, err)
	}
	return id, nil
}

// Pair makes an identity of a certificate (DER or PEM) and a key in PEM.
func Pair(cert, key []byte) (Identity, error) {
	der := derOf(cert)
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return Identity{}, fmt.Errorf("reading a certificate: %w", err)
	}
	block, _ := pem.Decode(key)
	if block == nil {
		return Identity{}, errors.New("the key is not PEM")
	}
	var parsed any
	if parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	if err != nil {
		return Identity{}, errors.New("the key is neither PKCS #8 nor PKCS #1, or it is encrypted")
	}
	rsaKey, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return Identity{}, fmt.Errorf("the key is %T, only RSA works here", parsed)
	}
	if pub, ok := c.PublicKey.(*rsa.PublicKey); !ok || !pub.Equal(&rsaKey.PublicKey) {
		return Identity{}, errors.New("certificate and key do not belong together")
	}
	return Identity{DER: der, Key: rsaKey, NotAfter: c.NotAfter}, nil
}

// derOf returns the DER of a certificate that is DER or PEM.
func derOf(b []byte) []byte {
	if block, _ := pem.Decode(b); block != nil {
		return block.Bytes
	}
	return b
}

// generate makes a self-signed certificate with the fields of Part 6 6.2.2.
func generate(certFile, keyFile, uri string, hosts []string, now time.Time) error {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	u, err := url.Parse(uri)
	if err != nil {
		return fmt.Errorf("application_uri %q: %w", uri, err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return fmt.Errorf("making a serial number: %w", err)
	}
	tpl := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "Plantloom", Organization: []string{"Plantloom"}},
		NotBefore:    now.Add(-clockTolerance), NotAfter: now.AddDate(years, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment |
			x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment | x509.KeyUsageCertSign,
		ExtKeyUsage:        []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		SignatureAlgorithm: x509.SHA256WithRSA, URIs: []*url.URL{u}, BasicConstraintsValid: true,
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			tpl.IPAddresses = append(tpl.IPAddresses, ip)
		} else if h != "" {
			tpl.DNSNames = append(tpl.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &key.PublicKey, key)
	if err != nil {
		return fmt.Errorf("making a certificate: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encoding a key: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(keyFile), 0o700); err != nil {
		return fmt.Errorf("making the certificate folder: %w", err)
	}
	// The key first: a crash in between leaves a key alone, which the next start reports.
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600); err != nil {
		return fmt.Errorf("writing the key: %w", err)
	}
	if err := os.WriteFile(certFile, der, 0o644); err != nil {
		return fmt.Errorf("writing the certificate: %w", err)
	}
	return nil
}

// Thumbprint is the SHA-1 of a certificate, by which OPC UA tools name it.
func Thumbprint(der []byte) string { return fmt.Sprintf("%X", sha1.Sum(der)) }
