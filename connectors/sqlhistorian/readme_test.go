package sqlhistorian

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/pipeline"
)

var update = flag.Bool("update", false, "rewrite the table of the README")

// TestTheReadmesTableIsMadeFromTheFields keeps one truth per setting: the field
// with its comment.
func TestTheReadmesTableIsMadeFromTheFields(t *testing.T) {
	t.Parallel()
	const begin, end = "<!-- made from config.go -->\n", "<!-- end -->"
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("README.md lacks the marks of the table")
	}
	want := before + begin + table(t) + end + after
	if *update {
		if err := os.WriteFile("README.md", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("README.md differs from config.go; run the test with -update (-want +got):\n%s", diff)
	}
}

// table renders the settings.
func table(t *testing.T) string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	out.WriteString("\n## Settings\n| key | default | meaning |\n|---|---|---|\n")
	defaults := reflect.ValueOf(Defaults())
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != "Config" {
			return true
		}
		for _, f := range spec.Type.(*ast.StructType).Fields.List {
			key, options, _ := strings.Cut(reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("conf"), ",")
			comment := strings.TrimSpace(f.Doc.Text())
			if comment == "" {
				t.Errorf("%s has no comment", key)
			}
			def := ""
			if value := defaults.FieldByName(f.Names[0].Name); strings.Contains(options, "required") {
				def = "required"
			} else if !value.IsZero() {
				def = fmt.Sprintf("`%v`", value)
			}
			fmt.Fprintf(&out, "| `%s` | %s | %s |\n", key, def, strings.ReplaceAll(comment, "|", `\|`))
		}
		return false
	})
	return out.String() + "\n"
}

// The example in testdata is complete: each of its sources decodes and builds.
func TestTheExampleIsAConfiguration(t *testing.T) {
	t.Parallel()
	faults := new(conf.Faults)
	sources := conf.ParseFile("testdata/plant.yaml", faults).Root.Field("sources")
	for _, name := range sources.Keys() {
		c := Kind().Config()
		conf.Decode(sources.Field(name).Without("kind", "tags"), c, faults)
		if _, err := Kind().Source(c, pipeline.Host{ID: name, Tags: []pipeline.Tag{{ID: "t", Address: "a"}}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(sources.Keys()) != 2 {
		t.Errorf("the example has %d sources", len(sources.Keys()))
	}
	if err := faults.Err(); err != nil {
		t.Error(err)
	}
}
