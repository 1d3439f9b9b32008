package conf

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestValuesFollowTheTypeOfTheirTarget(t *testing.T) {
	t.Parallel()
	src := `
name: 0017
order: yes
port: 0x50
small: -128
count: 3
scale: .5e1
enabled: true
timeout: 1d12h
buffer: 64MiB
colour: blue
where: 3/4
brokers: [a:1, 0x10, "null"]
limits: {1: 1, true: 2}
labels:
  text: |
    two
    lines
  date: 2024-01-01
password: file:pw
tls: ~
sources: {press: {cert: c, key: env:K}}
raw: [1]
`
	faults := new(Faults)
	c := plantConf{TLS: &tlsConf{Cert: "default"}}
	Decode(Parse("dir/a.yaml", []byte(src), faults).Root, &c, faults)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	want := plantConf{
		Base: Base{Name: "0017"}, Order: "yes", Port: 0x50, Small: -128, Count: 3, Scale: 5, Enabled: true,
		Timeout: 36 * time.Hour, Buffer: 64 << 20, Colour: "blue", Where: point{3, 4},
		Brokers: []string{"a:1", "0x10", "null"}, Limits: map[string]int{"1": 1, "true": 2},
		Labels:   map[string]string{"text": "two\nlines\n", "date": "2024-01-01"},
		Password: Secret{"file:dir/pw"},
		Sources:  map[string]tlsConf{"press": {Cert: "c", Key: Secret{"env:K"}}},
	}
	if diff := cmp.Diff(want, c, cmp.AllowUnexported(Secret{}), cmpopts.IgnoreFields(plantConf{}, "Raw")); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
	if c.Raw.Kind() != List || c.Raw.Items()[0].Text() != "1" {
		t.Errorf("raw is %s", c.Raw.Kind())
	}
}

func TestDefaultsStayWhereAKeyIsAbsent(t *testing.T) {
	t.Parallel()
	faults := new(Faults)
	c := plantConf{Port: 8480, Brokers: []string{"x"}, TLS: &tlsConf{Cert: "c"}}
	Decode(Parse("a.yaml", []byte("name: a\ntls: {key: env:K, cert: d}\n"), faults).Root, &c, faults)
	if faults.Len() != 0 || c.Port != 8480 || len(c.Brokers) != 1 || c.TLS.Cert != "d" {
		t.Errorf("%+v, %v", c, faults.Err())
	}
}

func TestAMissingNodeAnswersWithoutAFault(t *testing.T) {
	t.Parallel()
	root := Parse("a.yaml", []byte("a: {b: 1}\n"), new(Faults)).Root
	n := root.Field("a").Field("x").Field("y")
	if n.Exists() || n.Text() != "" || n.Keys() != nil || n.Items() != nil || n.Pos().String() != "a.yaml:1:1" {
		t.Errorf("%v %q at %s", n.Kind(), n.Text(), n.Pos())
	}
	var none *Node
	if none.Field("a").Exists() || none.Pos() != (Pos{}) || none.ScalarPos(3) != (Pos{}) || none.IsQuoted() || none.IsBlock() {
		t.Error("a nil node is not nothing")
	}
}

func TestTwoReadersCanShareAMap(t *testing.T) {
	t.Parallel()
	root := Parse("a.yaml", []byte("kind: x\nname: y\n"), new(Faults)).Root
	faults := new(Faults)
	var c plantConf
	Decode(root.Without("kind"), &c, faults)
	if faults.Len() != 0 || c.Name != "y" || root.Field("kind").Text() != "x" || root.Field("name").Without("a").Text() != "y" {
		t.Errorf("%+v, %v", c, faults.Err())
	}
}

func TestAFileThatCannotBeReadIsAFault(t *testing.T) {
	t.Parallel()
	faults := new(Faults)
	var c plantConf
	Decode(ParseFile(t.TempDir()+"/none.yaml", faults).Root, &c, faults)
	big := t.TempDir() + "/big.yaml"
	if err := os.WriteFile(big, make([]byte, maxBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	Decode(ParseFile(big, faults).Root, &c, faults)
	var codes []string
	for _, f := range faults.All() {
		codes = append(codes, f.Code)
	}
	if diff := cmp.Diff([]string{CodeUnreadable, CodeTooLarge}, codes, cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Error(diff)
	}
}

func TestWrongEncodingsAreFaultsAtTheirByte(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ src, want string }{
		"cp1252":            {"a: 1\nb: gr\xfcn\n", "a.yaml:2:6: byte 0xFC is not UTF-8"},
		"utf-16":            {"\xff\xfea\x00", "a.yaml:1:1: byte 0xFF is not UTF-8"},
		"control character": {"a: \x1b[2J\n", "a.yaml:1:4: control character U+001B"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			faults := new(Faults)
			Parse("a.yaml", []byte(c.src), faults)
			if got := faults.Err(); got == nil || got.Error() != c.want {
				t.Errorf("got %v, want %s", got, c.want)
			}
		})
	}
}

func TestWarningsDoNotMakeAnError(t *testing.T) {
	t.Parallel()
	faults := new(Faults)
	faults.Add(Pos{"a", 1, 1}, "w", "careful", Warning())
	faults.Add(Pos{"a", 1, 1}, "w", "careful", Warning())
	if faults.Err() != nil || faults.Len() != 1 {
		t.Errorf("%d faults, %v", faults.Len(), faults.Err())
	}
}

func TestTheNearestNameIsFoundOrNone(t *testing.T) {
	t.Parallel()
	known := []string{"order", "operation", "min_stable", "max_age", "if"}
	for name, want := range map[string]string{
		"ordr": "order", "odrer": "order", "minStable": "min_stable", "max-age": "max_age", "fi": "if", "zzz": "", "": "",
	} {
		if got := Nearest(name, known); got != want {
			t.Errorf("nearest to %q is %q, want %q", name, got, want)
		}
	}
}

func TestDurationsAndSizesNeedTheirUnit(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"0": 0, "10s": 10 * time.Second, "1m30s": 90 * time.Second, "7d": 168 * time.Hour, "1d2h": 26 * time.Hour,
		"200ms": 200 * time.Millisecond, "-5m": -5 * time.Minute, "0.5s": 500 * time.Millisecond,
	} {
		if got, err := ParseDuration(text); got != want || err != nil {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "10", "s", "--1s", "1d-2h", "1,5s", "d", "106752d", "106751d24h", "1w", "999999999999d"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
	for text, want := range map[string]Size{"0B": 0, "64MiB": 64 << 20, "1 GB": 1e9, "512B": 512, "2kB": 2000} {
		if got, err := ParseSize(text); got != want || err != nil {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "64", "-1B", "+1B", "B", "1.5MiB", "9999999999TiB", "1mb"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
	if got := Size(3<<20).String() + Size(1000).String() + Size(0).String(); got != "3MiB1000B0B" {
		t.Error(got)
	}
}

func BenchmarkParseTenThousandLines(b *testing.B) {
	src := []byte(strings.Repeat("- {name: x, tag: \"a/b\", value: =delta(good) + 1}\n", 10000))
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		Parse("a.yaml", src, new(Faults))
	}
}
