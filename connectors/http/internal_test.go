package http

import (
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/plantloom/plantloom/internal/conf"
)

func TestDecimalsBecomeCanonicalWithoutLosingADigit(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0": "0", "-0": "0", "-0.0": "0", "007": "7", "12.500": "12.5", "-012.050": "-12.05", "0.10": "0.1", "100": "100",
		"123456789012345678901234567890.1": "123456789012345678901234567890.1",
	} {
		if got, err := canonicalDecimal(text); err != nil || got != want {
			t.Errorf("%s: %q %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-", ".5", "5.", "1e3", "+1", "1,5", " 1", "1 ", "0x1", "NaN", "--1", "1.2.3"} {
		if got, err := canonicalDecimal(text); err == nil {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func FuzzDecimalsKeepTheirValue(f *testing.F) {
	for _, seed := range []string{"0", "-0.0", "12.500", "007", "1e3", "9999999999999999999999.00001"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := canonicalDecimal(text)
		if err != nil {
			return
		}
		a, okA := new(big.Rat).SetString(text)
		b, okB := new(big.Rat).SetString(got)
		if !okA || !okB || a.Cmp(b) != 0 {
			t.Errorf("%q became %q", text, got)
		}
		if again, err := canonicalDecimal(got); err != nil || again != got {
			t.Errorf("%q is not canonical: %q %v", got, again, err)
		}
	})
}

// FuzzNoValueLeavesItsPlaceInAPath checks that a value from an event can add
// neither a segment nor a parameter, nor change the host.
func FuzzNoValueLeavesItsPlaceInAPath(f *testing.F) {
	for _, seed := range []string{"1000001", "a/b", "..", "?x=1", "#f", "%2e%2e", "@evil.example/", "\r\nHost: x", "ä", "&b=2;c"} {
		f.Add(seed)
	}
	var faults conf.Faults
	file := conf.Parse("f.yaml", []byte("path: /api/{v}/status?a={v}&b=1\n"), &faults)
	p := compilePath(file.Root.Field("path"), scope{"v": answerScope()["text"]}, &faults)
	if err := faults.Err(); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, v string) {
		target, err := p.render(map[string]any{"v": v})
		if err != nil {
			return
		}
		u, err := url.Parse("http://erp.example" + target)
		if err != nil {
			t.Fatalf("%q gives %q: %v", v, target, err)
		}
		if u.Host != "erp.example" || u.Path != "/api/"+v+"/status" || strings.Count(u.EscapedPath(), "/") != 3 || u.Fragment != "" {
			t.Errorf("%q gives %q", v, target)
		}
		if q := u.Query(); len(q) != 2 || q.Get("a") != v || q.Get("b") != "1" {
			t.Errorf("%q gives the query %v", v, q)
		}
	})
}

func TestDurationsAreExactSeconds(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0", 90 * time.Second: "90", 1500 * time.Millisecond: "1.5", -time.Nanosecond: "-0.000000001", 100 * time.Second: "100",
	} {
		if got := seconds(d); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
}

func TestEveryBusinessEventCanBeRouted(t *testing.T) {
	t.Parallel()
	events := eventMessages()
	for _, name := range []string{"ProductionOrderEvent", "QualityEvent", "MaterialConsumptionEvent", "OeeEvent", "UnitEvent"} {
		if events[name] == nil {
			t.Errorf("%s is unknown", name)
		}
	}
	enum := typeEnum(events["QualityEvent"].Descriptor())
	if got := strings.Join(shortNames(enum), " "); !strings.HasPrefix(got, "UNSPECIFIED SAMPLE_TAKEN RESULT_RECORDED") {
		t.Errorf("types are %s", got)
	}
	if got := shortName(enum, 99); got != "99" {
		t.Errorf("a number without a name is %q", got)
	}
}
