package opcua

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/pipeline"
)

// Config is a source of kind opcua.
type Config struct {
	// Endpoint is the server's URL, for example opc.tcp://plc-7:4840. Its host and port are what is dialled, whatever
	// the server advertises.
	Endpoint string `conf:"endpoint,required"`
	// Security says how the connection is secured.
	Security Security `conf:"security"`
	// Auth says who logs in; without it, nobody (anonymous).
	Auth Auth `conf:"auth"`
	// PKIDir holds the certificates: own/, trusted/ and rejected/. Default: pki in the source's state directory.
	PKIDir string `conf:"pki_dir"`
	// ApplicationURI names this client; it stands in its certificate. Default: urn:HOST:plantloom:SOURCE.
	ApplicationURI string `conf:"application_uri"`

	// PublishingInterval is how often the server sends what changed.
	PublishingInterval time.Duration `conf:"publishing_interval,positive"`
	// SamplingInterval is how often the server looks at each tag; 0 is as fast as it can.
	SamplingInterval time.Duration `conf:"sampling_interval"`
	// QueueSize is how many values of a tag the server keeps while we cannot take them; auto covers outage_buffer.
	QueueSize QueueSize `conf:"queue_size"`
	// OutageBuffer is the outage that queue_size: auto is made for.
	OutageBuffer time.Duration `conf:"outage_buffer,positive"`
	// KeepaliveInterval is how often the server says that nothing changed. A connection that is silent for twice as
	// long, and a second, is given up.
	KeepaliveInterval time.Duration `conf:"keepalive_interval,positive"`
	// Lifetime is how long the server keeps the subscription while we are away. It should exceed the longest outage
	// of network and Kafka that is to pass without reading history.
	Lifetime time.Duration `conf:"lifetime,positive"`
	// KeepSubscription leaves the subscription on the server when the source is stopped, so that nothing is lost over
	// a restart within lifetime. False deletes it; the gap is then filled from history.
	KeepSubscription bool `conf:"keep_subscription"`

	// Backfill says whether gaps are filled from the server's history: auto, or off.
	Backfill Backfill `conf:"backfill"`
	// MaxWindow is how far back a gap is filled.
	MaxWindow time.Duration `conf:"max_window,positive"`

	// SessionTimeout is how long the server keeps the session while we are away.
	SessionTimeout time.Duration `conf:"session_timeout,positive"`
	// ChannelLifetime is the life of the connection's keys.
	ChannelLifetime time.Duration `conf:"channel_lifetime,positive"`
	// ConnectTimeout bounds connecting.
	ConnectTimeout time.Duration `conf:"connect_timeout,positive"`
	// CallTimeout bounds each request.
	CallTimeout time.Duration `conf:"call_timeout,positive"`
	// BadTagRetry is how long after a refusal a tag is tried again; it doubles up to an hour.
	BadTagRetry time.Duration `conf:"bad_tag_retry,positive"`
	// HandshakePoll is how often a handshake's acknowledgement is looked for.
	HandshakePoll time.Duration `conf:"handshake_poll,positive"`
	// MaxMessage is the largest answer that is accepted.
	MaxMessage conf.Size `conf:"max_message,positive"`
	// AllowNSIndex accepts addresses with ns=N. Servers renumber their namespaces at will: nsu=URI is safe.
	AllowNSIndex bool `conf:"allow_ns_index"`
}

// Security says how the connection is secured.
type Security struct {
	// Policy is auto (the best that the server offers), a policy by name, or None.
	Policy Policy `conf:"policy"`
	// Mode is SignAndEncrypt or Sign. It does not matter with None.
	Mode Mode `conf:"mode"`
	// AllowInsecure permits an unsecured connection: with policy None, and with auto where the server offers nothing
	// else. Everybody on the network can then read and change what is sent, passwords included.
	AllowInsecure bool `conf:"allow_insecure"`
}

// Auth says who logs in: a user with a password, or a user's certificate, or with neither nobody.
type Auth struct {
	// User and Password log in by name.
	User string `conf:"user"`
	// Password is a reference, env:NAME or file:PATH.
	Password conf.Secret `conf:"password"`
	// Certificate is the user's certificate, a file in DER or PEM, and Key its private key in PEM.
	Certificate string `conf:"certificate"`
	// Key is a reference, file:PATH.
	Key conf.Secret `conf:"key"`
}

// DecodeConf reads anonymous, or the keys of Auth.
func (a *Auth) DecodeConf(n *conf.Node, faults *conf.Faults) {
	if n.Kind() == conf.Scalar {
		if n.Text() != "anonymous" {
			faults.Add(n.ValuePos(), conf.CodeUnknownValue, "auth wants anonymous, or a user",
				conf.Hint("write auth: {user: NAME, password: env:NAME}"))
			return
		}
		*a = Auth{}
		return
	}
	type keys Auth // without this method
	k := keys(*a)
	conf.Decode(n, &k, faults)
	*a = Auth(k)
}

// Policy is a security policy's name.
type Policy string

// The policies that are not deprecated, best last.
const (
	PolicyAuto Policy = "auto"
	PolicyNone Policy = "None"
	Basic256   Policy = "Basic256Sha256"
	Aes128     Policy = "Aes128_Sha256_RsaOaep"
	Aes256     Policy = "Aes256_Sha256_RsaPss"
)

// Values implements conf.Enum.
func (Policy) Values() []string {
	return []string{string(PolicyAuto), string(Aes256), string(Aes128), string(Basic256), string(PolicyNone)}
}

// Mode is a message security mode.
type Mode string

// The modes that secure something.
const (
	SignAndEncrypt Mode = "SignAndEncrypt"
	Sign           Mode = "Sign"
)

// Values implements conf.Enum.
func (Mode) Values() []string { return []string{string(SignAndEncrypt), string(Sign)} }

func (m Mode) wire() ua.MessageSecurityMode {
	if m == Sign {
		return ua.MessageSecurityModeSign
	}
	return ua.MessageSecurityModeSignAndEncrypt
}

// Backfill says what happens about gaps.
type Backfill string

// The choices of Backfill.
const (
	BackfillAuto Backfill = "auto"
	BackfillOff  Backfill = "off"
)

// Values implements conf.Enum.
func (Backfill) Values() []string { return []string{string(BackfillAuto), string(BackfillOff)} }

// QueueSize is a number of values, 0 for auto.
type QueueSize uint32

// UnmarshalText reads a number or auto.
func (q *QueueSize) UnmarshalText(text []byte) error {
	if string(text) == "auto" {
		*q = 0
		return nil
	}
	n, err := strconv.ParseUint(string(text), 10, 31)
	if err != nil || n == 0 {
		return fmt.Errorf("%q is neither auto nor a number of values above zero", text)
	}
	*q = QueueSize(n)
	return nil
}

func defaults() Config {
	return Config{
		Security:           Security{Policy: PolicyAuto, Mode: SignAndEncrypt},
		PublishingInterval: 500 * time.Millisecond, SamplingInterval: 250 * time.Millisecond, OutageBuffer: 30 * time.Second,
		KeepaliveInterval: 10 * time.Second, Lifetime: 5 * time.Minute, KeepSubscription: true,
		Backfill: BackfillAuto, MaxWindow: 24 * time.Hour,
		SessionTimeout: time.Minute, ChannelLifetime: time.Hour, ConnectTimeout: 5 * time.Second, CallTimeout: 10 * time.Second,
		BadTagRetry: 5 * time.Minute, HandshakePoll: 50 * time.Millisecond, MaxMessage: 16 << 20,
	}
}

// Kind is `kind: opcua`.
func Kind() pipeline.Kind { return pipeline.NewKind("opcua", defaults(), New, nil) }

// address returns the host and port to dial.
func (c Config) address() (string, error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Scheme != "opc.tcp" || u.Hostname() == "" {
		return "", fmt.Errorf("endpoint %q is not a URL such as opc.tcp://plc-7:4840", c.Endpoint)
	}
	port := u.Port()
	if port == "" {
		port = "4840"
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}

// check refuses settings that cannot work together, before anything is dialled.
func (c Config) check() error {
	switch {
	case c.Security.Policy == PolicyNone && !c.Security.AllowInsecure:
		return fmt.Errorf("security policy None secures nothing: set allow_insecure: true if that is meant, else use policy: auto")
	case c.SamplingInterval < 0:
		return fmt.Errorf("sampling_interval %v is negative; 0 is as fast as the server can", c.SamplingInterval)
	case c.Lifetime < 3*c.KeepaliveInterval:
		return fmt.Errorf("lifetime %v must be at least three times keepalive_interval %v", c.Lifetime, c.KeepaliveInterval)
	case c.Auth.User != "" && c.Auth.Certificate != "":
		return fmt.Errorf("auth has both a user and a certificate; keep one")
	case c.Auth.User == "" && c.Auth.Password.IsSet():
		return fmt.Errorf("auth has a password without a user")
	case c.Auth.Certificate != "" && !c.Auth.Key.IsSet():
		return fmt.Errorf("auth has a certificate without its key: add key: file:PATH")
	}
	return nil
}

// queue is the queue size to ask for.
func (c Config) queue() uint32 {
	if c.QueueSize > 0 {
		return uint32(c.QueueSize)
	}
	const fastest, most = 100 * time.Millisecond, 10_000
	sampling := max(c.SamplingInterval, fastest)
	n := max(2, c.PublishingInterval/sampling+2, (c.OutageBuffer+sampling-1)/sampling)
	return uint32(min(n, most))
}

// policyURI returns the name that the protocol uses.
func (p Policy) policyURI() string { return ua.SecurityPolicyURIPrefix + string(p) }

// policyName is the reverse of policyURI.
func policyName(uri string) string { return strings.TrimPrefix(uri, ua.SecurityPolicyURIPrefix) }
