package opcua

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/pipeline"
)

func TestAddresses(t *testing.T) {
	t.Parallel()
	namespaces := []string{"http://opcfoundation.org/UA/", "urn:a", "urn:b;c", "http://x/y=1"}
	for text, want := range map[string]string{
		"nsu=urn:a;s=Line.Speed": "ns=1;s=Line.Speed",
		"nsu=urn:a;s=a;b=c":      "ns=1;s=a;b=c",
		"nsu=urn:b%3Bc;i=7":      "ns=2;i=7",
		"nsu=http://x/y=1;s=%3B": "ns=3;s=%3B",
		"nsu=urn:a;b=AQID":       "ns=1;b=AQID",
		"i=2258":                 "i=2258",
		"ns=0;i=2258":            "i=2258",
		"nsu=urn:none;s=x":       "",
		"nsu=urn:a;i=4294967295": "ns=1;i=4294967295",
		"nsu=urn:a;g=12345678-9ABC-DEF0-1234-56789ABCDEF0": "ns=1;g=12345678-9ABC-DEF0-1234-56789ABCDEF0",
	} {
		a, err := parseAddress(text, false)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got := ""
		if n, ok := a.node(namespaces); ok {
			got = n.String()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	for _, text := range []string{
		"", "s=", "Line.Speed", "nsu=;s=x", "nsu=urn:a", "ns=2;s=x", "ns=x;s=y", "i=-1", "i=4294967296", "g=1", "b=?", "nsu=urn:a;x=1",
	} {
		if a, err := parseAddress(text, false); err == nil {
			t.Errorf("%q was read as %+v", text, a)
		}
	}
	if a, err := parseAddress("ns=2;s=x", true); err != nil || a.index != 2 {
		t.Errorf("with allow_ns_index: %+v, %v", a, err)
	}
}

func TestACursorIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 4, 5, 6, 7, 800, time.UTC)
	r := &record{
		ServerURI: "urn:s", StartedAt: at, Subscription: 7, CreatedAt: at, KeepAlive: time.Second, Publishing: time.Millisecond,
		Sequence: 4294967295, Wraps: 3, Filling: true, Watermark: at, Bad: []int{1},
		Last: []time.Time{at, {}, at.Add(-48 * time.Hour), at.Add(-100 * time.Nanosecond)},
	}
	b, err := r.encode("hash")
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeRecord(b, "hash", 4)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, got); diff != "" {
		t.Errorf("it differs (-want +got):\n%s", diff)
	}
	other, err := decodeRecord(b, "other tags", 2)
	if err != nil {
		t.Fatal(err)
	}
	if other.Subscription != 0 || len(other.Last) != 2 || !other.Last[1].Equal(at) {
		t.Errorf("with other tags: %+v", other)
	}
	for _, broken := range []string{"", "{", `{"v":9}`, `{"v":1,"tags":"hash","last":""}`, `{"v":1,"tags":"hash","last":"AAAAAA","bad":[9]}`} {
		if r, err := decodeRecord([]byte(broken), "hash", 4); err == nil {
			t.Errorf("%q was read as %+v", broken, r)
		}
	}
}

// R7: positions rise over the wrap of the sequence number, and none is 0.
func TestPositions(t *testing.T) {
	t.Parallel()
	var last uint64
	wraps, s := uint32(0), uint32(4294967293)
	for range 5 {
		for item := range 3 {
			p := position(wraps, s, item)
			if p <= last {
				t.Fatalf("position %d comes after %d", p, last)
			}
			last = p
		}
		wraps, s = next(wraps, s)
	}
	if wraps != 1 || s != 3 {
		t.Errorf("got %d, %d", wraps, s)
	}
	for _, tc := range []struct {
		want, s uint32
		d       int64
	}{{5, 5, 0}, {5, 7, 2}, {5, 4, -1}, {4294967295, 1, 1}, {1, 4294967295, -1}, {4294967290, 3, 8}} {
		if got := ahead(tc.want, tc.s); got != tc.d {
			t.Errorf("ahead(%d, %d) = %d, want %d", tc.want, tc.s, got, tc.d)
		}
	}
}

func TestTheQueueCoversTheOutage(t *testing.T) {
	t.Parallel()
	c := defaults()
	if n := c.queue(); n != 120 { // 30 s of 250 ms
		t.Errorf("got %d", n)
	}
	c.SamplingInterval, c.OutageBuffer = 0, time.Hour
	if n := c.queue(); n != 10_000 {
		t.Errorf("got %d", n)
	}
	c.QueueSize = 5
	if n := c.queue(); n != 5 {
		t.Errorf("got %d", n)
	}
}

func TestTheConfigurationIsRead(t *testing.T) {
	t.Parallel()
	const text = `endpoint: opc.tcp://plc:4840
security: {policy: Aes128_Sha256_RsaOaep, mode: Sign}
auth: {user: ann, password: env:PW}
queue_size: auto
backfill: off
publishing_interval: 200ms
max_message: 4MiB
`
	faults := new(conf.Faults)
	c := defaults()
	conf.Decode(conf.Parse("x.yaml", []byte(text), faults).Root, &c, faults)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	if c.Security.Policy != Aes128 || c.Security.Mode != Sign || c.Auth.User != "ann" || !c.Auth.Password.IsSet() || c.Backfill != BackfillOff || c.MaxMessage != 4<<20 {
		t.Errorf("got %+v", c)
	}
	for _, broken := range []string{"queue_size: many", "security: {policy: Basic256}", "auth: someone", "backfill: no"} {
		faults := new(conf.Faults)
		conf.Decode(conf.Parse("x.yaml", []byte("endpoint: opc.tcp://plc\n"+broken+"\n"), faults).Root, &c, faults)
		if faults.Err() == nil {
			t.Errorf("%q was read", broken)
		}
	}
}

// The table of the README is complete.
func TestTheReadmeNamesEveryOption(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var check func(prefix string, typ reflect.Type)
	check = func(prefix string, typ reflect.Type) {
		for f := range typ.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("conf"), ",")
			if f.Type.Kind() == reflect.Struct && f.Type.PkgPath() == typ.PkgPath() {
				check(name+".", f.Type)
			} else if !strings.Contains(string(readme), "`"+prefix+name+"`") {
				t.Errorf("README.md does not name %s%s", prefix, name)
			}
		}
	}
	check("", reflect.TypeFor[Config]())
}

func TestHistoryLooksLikeWhatArrivedLive(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ code, want pipeline.Quality }{
		"raw good":              {0x400, pipeline.Good},
		"good without bits":     {0, pipeline.Good},
		"a bad one":             {pipeline.BadSensorFailure | 0x400, pipeline.BadSensorFailure},
		"an overflow is kept":   {pipeline.GoodOverflow, pipeline.GoodOverflow},
		"a limit is kept":       {0x500, 0x500},
		"interpolated is noted": {0x402, pipeline.Good},
	} {
		if got := raw(tc.code); got != tc.want {
			t.Errorf("%s: got %#x, want %#x", name, uint32(got), uint32(tc.want))
		}
	}
}

func TestTheEndpointIsNeverWeakerThanAskedFor(t *testing.T) {
	t.Parallel()
	offer := func(p Policy, mode ua.MessageSecurityMode, url string) *ua.EndpointDescription {
		return &ua.EndpointDescription{SecurityPolicyURI: p.policyURI(), SecurityMode: mode, EndpointURL: url}
	}
	const encrypt, sign, none = ua.MessageSecurityModeSignAndEncrypt, ua.MessageSecurityModeSign, ua.MessageSecurityModeNone
	c := defaults()
	c.Endpoint = "opc.tcp://plc:4840"
	all := []*ua.EndpointDescription{
		offer(PolicyNone, none, "a"), offer(Basic256, encrypt, "b"), offer(Aes128, sign, "c"), offer(Aes256, sign, "d"),
		offer(Basic256, encrypt, "opc.tcp://PLC:4840/x"), nil,
	}
	if e, err := c.choose(all); err != nil || e.EndpointURL != "opc.tcp://PLC:4840/x" {
		t.Errorf("got %+v, %v", e, err)
	}
	c.Security.Mode = Sign
	if e, err := c.choose(all); err != nil || e.EndpointURL != "d" {
		t.Errorf("got %+v, %v", e, err)
	}
	chosen, err := c.choose(all)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.sameOffer(chosen, append(all, offer(Aes256, sign, "d"))); err != nil {
		t.Errorf("the same offer: %v", err)
	}
	if err := c.sameOffer(&ua.EndpointDescription{SecurityPolicyURI: Aes128.policyURI(), SecurityMode: sign}, all); err == nil {
		t.Error("a weaker endpoint than the session's list offers was accepted")
	}
	for _, few := range [][]*ua.EndpointDescription{nil, all[:1], {offer("Basic128Rsa15", sign, "x")}} {
		if e, err := c.choose(few); err == nil {
			t.Errorf("got %+v", e)
		}
	}
}
