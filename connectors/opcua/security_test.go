package opcua_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plantloom/plantloom/connectors/opcua"
	"github.com/plantloom/plantloom/connectors/opcua/pki"
	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/internal/uaserver"
)

func secret(t *testing.T, text string) conf.Secret {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := conf.NewSecret("file:"+file, "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func secure(c *opcua.Config) {
	c.Security = opcua.Security{Policy: opcua.PolicyAuto, Mode: opcua.SignAndEncrypt}
}

// firstError starts the source and returns what its first Run says.
func (r *rig) firstError() error {
	r.t.Helper()
	r.start()
	r.await("Run returned", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.errs) > 0 })
	r.stop()
	return r.failures()[0]
}

// trust moves the rejected certificate to the trusted ones, as the message says.
func (r *rig) trust() {
	r.t.Helper()
	files, err := filepath.Glob(filepath.Join(r.dir, "pki", "rejected", "*.der"))
	if err != nil || len(files) != 1 {
		r.t.Fatalf("rejected certificates: %v, %v", files, err)
	}
	if err := os.Rename(files[0], filepath.Join(r.dir, "pki", "trusted", filepath.Base(files[0]))); err != nil {
		r.t.Fatal(err)
	}
}

func TestAnUnknownCertificateIsRejectedUntilAPersonTrustsIt(t *testing.T) {
	t.Parallel()
	p := newPlant(t, func(o *uaserver.Options) { o.Secure, o.Lean, o.Users = true, false, map[string]string{"ann": "geheim"} })
	r := newRig(t, p, func(c *opcua.Config) {
		secure(c)
		c.Auth = opcua.Auth{User: "ann", Password: secret(t, "geheim")}
	})
	err := r.firstError()
	var untrusted *pki.UntrustedError
	if !errors.As(err, &untrusted) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{pki.Thumbprint(p.srv.Certificate()), "rejected", "trusted"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the message lacks %q: %v", want, err)
		}
	}
	r.trust()
	r.start()
	stop := r.run()
	r.awaitTick(20)
	r.srv.DropConnections() // the session is activated again with fresh signatures
	r.awaitTick(r.plant.count() + 20)
	stop()
	r.awaitTick(r.plant.count())
	r.exact()
	if r.counted("sessions_reactivated") == 0 {
		t.Error("the session was not activated again")
	}
	if got := r.status().Details["security"]; got != "Basic256Sha256" {
		t.Errorf("security %q", got)
	}
}

func TestKeysAreRenewedUnderLoad(t *testing.T) {
	t.Parallel()
	p := newPlant(t, func(o *uaserver.Options) { o.Secure, o.Lean = true, false })
	r := newRig(t, p, func(c *opcua.Config) { secure(c); c.Security.Mode = opcua.Sign; c.ChannelLifetime = time.Second })
	_ = r.firstError()
	r.trust()
	before := len(r.failures())
	r.start()
	r.awaitTick(0)
	stop := r.run()
	time.Sleep(3 * time.Second)
	stop()
	r.awaitTick(r.plant.count())
	r.exact()
	if errs := r.failures()[before:]; len(errs) != 0 {
		t.Errorf("the connection was lost: %v", errs)
	}
}

func TestWhatCannotBeSecureSaysWhatToDo(t *testing.T) {
	t.Parallel()
	users := func(o *uaserver.Options) { o.Users, o.NoAnonymous = map[string]string{"ann": "geheim"}, true }
	for name, tc := range map[string]struct {
		server func(*uaserver.Options)
		config func(*testing.T, *opcua.Config)
		want   []string
	}{
		"the server offers only None": {nil, func(_ *testing.T, c *opcua.Config) { secure(c) }, []string{"allow_insecure"}},
		"a policy that it does not offer": {
			func(o *uaserver.Options) { o.Secure, o.Lean = true, false },
			func(_ *testing.T, c *opcua.Config) { secure(c); c.Security.Policy = opcua.Aes256 },
			[]string{"Basic256Sha256", "Aes256_Sha256_RsaPss"},
		},
		"a wrong password": {users, func(t *testing.T, c *opcua.Config) {
			c.Auth = opcua.Auth{User: "ann", Password: secret(t, "falsch")}
		}, []string{`refused user "ann"`, "password", "BadUserAccessDenied"}},
		"an unknown user": {users, func(t *testing.T, c *opcua.Config) {
			c.Auth = opcua.Auth{User: "bob", Password: secret(t, "geheim")}
		}, []string{`refused user "bob"`}},
		"nobody logs in where somebody must": {users, func(*testing.T, *opcua.Config) {}, []string{"does not accept anonymous", "auth: {user"}},
		"no server there":                    {nil, func(_ *testing.T, c *opcua.Config) { c.Endpoint = "opc.tcp://127.0.0.1:1" }, []string{"127.0.0.1:1", "refused"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, newPlant(t, tc.server), func(c *opcua.Config) { tc.config(t, c) })
			err := r.firstError()
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the message lacks %q: %v", want, err)
				}
			}
			if strings.Contains(err.Error(), "geheim") || strings.Contains(err.Error(), "falsch") {
				t.Errorf("the message holds the password: %v", err)
			}
		})
	}
}

func TestAutoTakesNoneOnlyWhenThatIsAllowed(t *testing.T) {
	t.Parallel()
	r := newRig(t, newPlant(t, nil), func(c *opcua.Config) { secure(c); c.Security.AllowInsecure = true })
	r.start()
	r.awaitTick(0)
	if got := r.status().Details["security"]; got != "None" {
		t.Errorf("security %q", got)
	}
}

func TestSettingsThatCannotWorkAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*rig)
		want   string
	}{
		"None without leave":            {func(r *rig) { r.config.Security.AllowInsecure = false }, "allow_insecure"},
		"no URL":                        {func(r *rig) { r.config.Endpoint = "plc-7:4840" }, "opc.tcp://"},
		"a short lifetime":              {func(r *rig) { r.config.Lifetime = 300 * time.Millisecond }, "lifetime"},
		"two ways to log in":            {func(r *rig) { r.config.Auth = opcua.Auth{User: "a", Certificate: "b"} }, "keep one"},
		"a namespace by number":         {func(r *rig) { r.tags[3].Address = "ns=2;s=T3" }, "nsu="},
		"an address without identifier": {func(r *rig) { r.tags[3].Address = "nsu=urn:x" }, "L1/T3"},
		"two tags of one name":          {func(r *rig) { r.tags[3].ID = "L1/T4" }, "twice"},
		"no tags":                       {func(r *rig) { r.tags = nil }, "empty"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, newPlant(t, nil), nil)
			tc.change(r)
			if _, err := opcua.Kind().Source(&r.config, r.host()); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want something about %q", err, tc.want)
			}
		})
	}
}
