package pki

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// UntrustedError is a server certificate that nobody has trusted. A copy is in Rejected.
type UntrustedError struct {
	Subject, Thumbprint string
	Rejected, Trusted   string // the file, and the folder that it belongs in once it is checked
}

func (e *UntrustedError) Error() string {
	return fmt.Sprintf("the server's certificate %q (thumbprint %s) is not trusted: compare the thumbprint with the one shown on the server, then move %s to %s",
		e.Subject, e.Thumbprint, e.Rejected, e.Trusted)
}

// Check decides whether a server may be talked to: its certificate must be in dir/trusted, or be signed by a
// certificate authority there, be valid now, strong enough, and name the application URI of the endpoint. der may be a
// chain whose first certificate is the server's. An unknown certificate is put into dir/rejected.
func Check(dir string, der []byte, uri string, now time.Time) error {
	certs, err := x509.ParseCertificates(der)
	if err != nil || len(certs) == 0 {
		return errors.Join(errors.New("the server's certificate cannot be read; it must be replaced on the server"), err)
	}
	leaf := certs[0]
	trusted, err := list(filepath.Join(dir, "trusted"))
	if err != nil {
		return err
	}
	if !trust(leaf, certs[1:], trusted, now) {
		return reject(dir, leaf)
	}
	return valid(leaf, uri, now)
}

// trust reports whether leaf itself is trusted or was issued, at any depth, by a trusted authority.
func trust(leaf *x509.Certificate, chain, trusted []*x509.Certificate, now time.Time) bool {
	if slices.ContainsFunc(trusted, leaf.Equal) {
		return true
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	authorities := 0
	for _, c := range trusted {
		if c.IsCA && !bytes.Equal(c.RawSubject, leaf.RawSubject) {
			roots.AddCert(c)
			authorities++
		}
	}
	for _, c := range chain {
		between.AddCert(c)
	}
	if authorities == 0 {
		return false
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	return err == nil
}

// valid checks what trust alone does not say (Part 4 6.1.3).
func valid(c *x509.Certificate, uri string, now time.Time) error {
	name := fmt.Sprintf("the server's certificate %q (thumbprint %s)", c.Subject.CommonName, Thumbprint(c.Raw))
	day := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	pub, ok := c.PublicKey.(*rsa.PublicKey)
	switch {
	case now.After(c.NotAfter):
		return fmt.Errorf("%s expired at %s: renew it on the server", name, day(c.NotAfter))
	case now.Before(c.NotBefore):
		return fmt.Errorf("%s is valid from %s and it is %s here: check both clocks", name, day(c.NotBefore), day(now))
	case !ok:
		return fmt.Errorf("%s has no RSA key: make one with RSA on the server", name)
	case pub.N.BitLen() < keyBits:
		return fmt.Errorf("%s has a key of %d bits: make one of at least %d on the server", name, pub.N.BitLen(), keyBits)
	case c.SignatureAlgorithm == x509.SHA1WithRSA || c.SignatureAlgorithm == x509.MD5WithRSA:
		return fmt.Errorf("%s is signed with %v: make one with SHA-256 on the server", name, c.SignatureAlgorithm)
	case !slices.ContainsFunc(c.URIs, func(u *url.URL) bool { return u.String() == uri }):
		return fmt.Errorf("%s is for %v, but the server calls itself %q: correct its certificate or its application URI", name, c.URIs, uri)
	}
	return nil
}

// reject puts a copy into rejected/ and says what a person does about it.
func reject(dir string, c *x509.Certificate) error {
	thumb := Thumbprint(c.Raw)
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' {
			return r
		}
		return '_'
	}, c.Subject.CommonName)
	file := filepath.Join(dir, "rejected", fmt.Sprintf("%.60s_%s.der", name, thumb))
	trusted := filepath.Join(dir, "trusted")
	for _, d := range []string{filepath.Dir(file), trusted} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("making a certificate folder: %w", err)
		}
	}
	if err := os.WriteFile(file, c.Raw, 0o644); err != nil {
		return fmt.Errorf("keeping the server's certificate for a person to check: %w", err)
	}
	return &UntrustedError{Subject: c.Subject.CommonName, Thumbprint: thumb, Rejected: file, Trusted: trusted}
}

// list reads every certificate of a folder; a file that is none is an error that names it.
func list(dir string) ([]*x509.Certificate, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the trusted certificates: %w", err)
	}
	var out []*x509.Certificate
	for _, e := range entries {
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		file := filepath.Join(dir, e.Name())
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading a trusted certificate: %w", err)
		}
		c, err := x509.ParseCertificate(derOf(b))
		if err != nil {
			return nil, fmt.Errorf("%s is not a certificate, remove it: %w", file, err)
		}
		out = append(out, c)
	}
	return out, nil
}
