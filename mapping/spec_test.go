package mapping

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/mapping/engine"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestAMappingFileBecomesASpecWithThePlaceOfEveryText(t *testing.T) {
	t.Parallel()
	var faults conf.Faults
	l := newLoader(os.DirFS("testdata/spec"), "", &faults)
	text, ok := l.read("press.map.yaml")
	if !ok {
		t.Fatal("no test file")
	}
	m := l.parseMapping("press.map.yaml", text)
	var b strings.Builder
	dump(&b, "", reflect.ValueOf(*m.Spec))
	for _, a := range append(m.inputs, m.outputs...) {
		fmt.Fprintf(&b, "address %s %s %v %s\n", a.name, a.kind, a.parts, a.at)
	}
	golden(t, "testdata/spec/press.golden", b.String())
}

// dump writes what is set of a value, one line per member; texts with their place.
func dump(b *strings.Builder, indent string, v reflect.Value) {
	for i := range v.NumField() {
		dumpField(b, indent, v.Type().Field(i).Name, v.Field(i))
	}
}

func dumpField(b *strings.Builder, indent, name string, v reflect.Value) {
	if v.IsZero() {
		return
	}
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch x := v.Interface().(type) {
	case engine.Source:
		if x.Text != "" {
			p := x.At(0)
			fmt.Fprintf(b, "%s%s: %q %d:%d\n", indent, name, x.Text, p.Line, p.Column)
		}
		return
	case engine.Pos:
		fmt.Fprintf(b, "%s%s: %d:%d\n", indent, name, x.Line, x.Column)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		fmt.Fprintf(b, "%s%s:\n", indent, name)
		dump(b, indent+"  ", v)
	case reflect.Slice:
		for i := range v.Len() {
			dumpField(b, indent, fmt.Sprintf("%s[%d]", name, i), v.Index(i))
		}
	default:
		fmt.Fprintf(b, "%s%s: %v\n", indent, name, v.Interface())
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestAFormulaThatCannotEndHereIsCutOff(t *testing.T) {
	t.Parallel()
	for formula, want := range map[string]bool{
		`order`: false, `a + 1`: false, `lookup(t, "x")`: false, `"it's"`: false, `f("(")`: false, `x == 'a"b'`: false,
		`order + "`: true, `f(a`: true, `a +`: true, `a and`: true, `[1, 2`: true, `a ?? `: true, ``: true, `not`: true, `band`: false,
		`"a\"`: true,
	} {
		if got := cutOff(formula); got != want {
			t.Errorf("cutOff(%q) = %v", formula, got)
		}
	}
}

func TestACommentBehindAWholeFormulaIsAComment(t *testing.T) {
	t.Parallel()
	var faults conf.Faults
	text := strings.Replace(station, "key: =part", "key: =part # the part", 1)
	l := newLoader(plantDir(nil), "", &faults)
	m := l.parseMapping("station.map.yaml", []byte(text))
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	if got := m.Spec.Rules[0].Key.Text; got != "part" {
		t.Errorf("key is %q", got)
	}
}
