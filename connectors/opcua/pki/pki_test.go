package pki

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const uri = "urn:test:server"

func now() time.Time { return time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC) }

// issue makes a certificate; without an authority it signs itself.
func issue(t *testing.T, bits int, change func(*x509.Certificate), parent *x509.Certificate, parentKey *rsa.PrivateKey) (*x509.Certificate, *rsa.PrivateKey) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(uri)
	tpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "plc 7/ä"}, NotBefore: now().Add(-time.Hour), NotAfter: now().Add(time.Hour),
		URIs: []*url.URL{u}, BasicConstraintsValid: true,
	}
	if change != nil {
		change(tpl)
	}
	if parent == nil {
		parent, parentKey = tpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

func trusted(t *testing.T, certs ...*x509.Certificate) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "trusted"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i, c := range certs {
		if err := os.WriteFile(filepath.Join(dir, "trusted", string(rune('a'+i))+".der"), c.Raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestAnUnknownCertificateIsKeptForAPersonToCheck(t *testing.T) {
	t.Parallel()
	c, _ := issue(t, 2048, nil, nil, nil)
	dir := t.TempDir()
	err := Check(dir, c.Raw, uri, now())
	untrusted, ok := errors.AsType[*UntrustedError](err)
	if !ok {
		t.Fatalf("got %v", err)
	}
	if kept, err := os.ReadFile(untrusted.Rejected); err != nil || string(kept) != string(c.Raw) {
		t.Errorf("the copy differs: %v", err)
	}
	if !strings.Contains(err.Error(), Thumbprint(c.Raw)) {
		t.Errorf("no thumbprint in %v", err)
	}
	if err := os.Rename(untrusted.Rejected, filepath.Join(untrusted.Trusted, "plc.der")); err != nil {
		t.Fatal(err)
	}
	if err := Check(dir, c.Raw, uri, now()); err != nil {
		t.Errorf("once moved: %v", err)
	}
}

func TestATrustedCertificateMustBeGoodToo(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		bits   int
		change func(*x509.Certificate)
		uri    string
		want   string
	}{
		"good":           {2048, nil, uri, ""},
		"expired":        {2048, func(c *x509.Certificate) { c.NotAfter = now().Add(-time.Minute) }, uri, "expired"},
		"not yet valid":  {2048, func(c *x509.Certificate) { c.NotBefore = now().Add(time.Minute) }, uri, "clocks"},
		"a weak key":     {1024, nil, uri, "1024 bits"},
		"another server": {2048, nil, "urn:other", "urn:other"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _ := issue(t, tc.bits, tc.change, nil, nil)
			err := Check(trusted(t, c), c.Raw, tc.uri, now())
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want something about %q", err, tc.want)
			}
		})
	}
}

func TestACertificateOfATrustedAuthorityIsTrusted(t *testing.T) {
	t.Parallel()
	ca, caKey := issue(t, 2048, func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage, c.Subject.CommonName = true, x509.KeyUsageCertSign, "plant CA"
	}, nil, nil)
	c, _ := issue(t, 2048, nil, ca, caKey)
	if err := Check(trusted(t, ca), c.Raw, uri, now()); err != nil {
		t.Errorf("got %v", err)
	}
	other, _ := issue(t, 2048, nil, nil, nil)
	if _, ok := errors.AsType[*UntrustedError](Check(trusted(t, ca), other.Raw, uri, now())); !ok {
		t.Error("another one is trusted")
	}
	if _, ok := errors.AsType[*UntrustedError](Check(trusted(t, other), c.Raw, uri, now())); !ok {
		t.Error("a server's own certificate counts as an authority")
	}
}

func TestOurOwnCertificateIsMadeOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := Own(dir, "urn:us", []string{"host", "10.0.0.7"}, now())
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(first.DER)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.URIs) != 1 || c.URIs[0].String() != "urn:us" || len(c.DNSNames) != 1 || len(c.IPAddresses) != 1 || c.SignatureAlgorithm != x509.SHA256WithRSA {
		t.Errorf("certificate for %v %v %v, %v", c.URIs, c.DNSNames, c.IPAddresses, c.SignatureAlgorithm)
	}
	again, err := Own(dir, "urn:us", nil, now())
	if err != nil || string(again.DER) != string(first.DER) {
		t.Errorf("it was made anew: %v", err)
	}
	if st, err := os.Stat(filepath.Join(dir, "own", "key.pem")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the key can be read by others: %v, %v", st.Mode(), err)
	}
	if _, err := Own(dir, "urn:other", nil, now()); err == nil || !strings.Contains(err.Error(), "application_uri") {
		t.Errorf("another URI: %v", err)
	}
	if _, err := Own(dir, "urn:us", nil, now().AddDate(6, 0, 0)); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("after its end: %v", err)
	}
}
