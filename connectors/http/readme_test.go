package http_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/plantloom/plantloom/connectors/http"
)

// TestTheReadmesTablesAreMadeFromTheFields keeps one truth per setting: the
// field with its comment. -update rewrites the tables.
func TestTheReadmesTablesAreMadeFromTheFields(t *testing.T) {
	t.Parallel()
	const begin, end = "<!-- made from config.go -->\n", "<!-- end -->"
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("README.md lacks the marks of the tables")
	}
	golden(t, "README.md", before+begin+tables(t)+end+after)
}

// tables renders one table per configuration struct.
func tables(t *testing.T) string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	titles := []struct{ typ, title, prefix string }{
		{"Config", "Settings", ""}, {"Basic", "`auth.basic`", ""}, {"Bearer", "`auth.bearer`", ""}, {"TLS", "`tls`", ""},
		{"Route", "`routes` (sink)", ""}, {"Lookup", "`routes[].lookup`", ""}, {"Class", "`routes[].classes`", ""}, {"Orders", "`orders` (source)", ""},
	}
	var out strings.Builder
	for _, title := range titles {
		fmt.Fprintf(&out, "\n### %s\n| key | default | meaning |\n|---|---|---|\n", title.title)
		for _, f := range fieldsOf(t, file, title.typ) {
			fmt.Fprintf(&out, "| `%s` | %s | %s |\n", f.key, f.def, strings.ReplaceAll(f.comment, "|", "\\|"))
		}
	}
	return out.String() + "\n"
}

type option struct{ key, def, comment string }

func fieldsOf(t *testing.T, file *ast.File, name string) []option {
	t.Helper()
	object := file.Scope.Lookup(name)
	if object == nil {
		t.Fatalf("config.go has no type %s", name)
	}
	var out []option
	for _, f := range object.Decl.(*ast.TypeSpec).Type.(*ast.StructType).Fields.List {
		if f.Tag == nil {
			continue
		}
		tag := reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("conf")
		key, options, _ := strings.Cut(tag, ",")
		comment := strings.TrimSpace(f.Doc.Text())
		if comment == "" {
			t.Errorf("%s.%s has no comment", name, f.Names[0].Name)
		}
		o := option{key: key, comment: comment}
		if strings.Contains(options, "required") {
			o.def = "required"
		} else if name == "Config" {
			value := reflect.ValueOf(http.Defaults()).FieldByName(f.Names[0].Name)
			if value.Kind() != reflect.Struct && !value.IsZero() {
				o.def = fmt.Sprintf("`%v`", value)
			}
		}
		out = append(out, o)
	}
	return out
}
