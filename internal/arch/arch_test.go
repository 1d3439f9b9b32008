package arch

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

func TestTheHouseKeepsItsRules(t *testing.T) {
	t.Parallel()
	faults, err := Check(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		t.Error(f)
	}
}

func TestEveryBrokenRuleIsReported(t *testing.T) {
	t.Parallel()
	const list = "// Package connectors lists.\npackage connectors\n\nimport _ \"github.com/plantloom/plantloom/connectors/opcua\"\n"
	doc := func(pkg, imp string) string {
		return "// Package " + pkg + " is here.\npackage " + pkg + "\n\nimport _ \"" + imp + "\"\n"
	}
	for name, tc := range map[string]struct {
		file, src, want string
	}{
		"a connector imports another connector": {"connectors/opcua/a.go", doc("opcua", module+"connectors/mqtt"), "imports connectors/mqtt"},
		"a connector imports Kafka legs":        {"connectors/opcua/a.go", doc("opcua", module+"pipeline/kafka"), "imports pipeline/kafka"},
		"the vocabulary imports a leg":          {"pipeline/a.go", doc("pipeline", module+"pipeline/kafka"), "pipeline may import only gen"},
		"the engine opens files":                {"mapping/engine/a.go", doc("engine", "os"), "mapping/engine is pure"},
		"kafka-go outside its room":             {"gateway/a.go", doc("gateway", "github.com/segmentio/kafka-go"), "which only pipeline/kafka may"},
		"kafka-go in a test outside its room":   {"gateway/a_test.go", doc("gateway", "github.com/segmentio/kafka-go"), "which only pipeline/kafka may"},
		"the binary links the demo":             {"cmd/plantloom/a.go", doc("main", module+"examples/demo/erp/sim"), "never linked into plantloom"},
		"a package without a doc comment":       {"gateway/a.go", "package gateway\n", "gateway: the package has no doc comment"},
		"a file that is too long":               {"gateway/a.go", doc("gateway", "fmt") + strings.Repeat("// more\n", maxLines), "over 600"},
		"a connector that nobody listed":        {"connectors/mqtt/a.go", doc("mqtt", "fmt"), "connectors/mqtt is not listed: add mqtt.Kind()"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := fstest.MapFS{
				"connectors/connectors.go": {Data: []byte(list)},
				"connectors/opcua/z.go":    {Data: []byte(doc("opcua", "fmt"))},
			}
			tree[tc.file] = &fstest.MapFile{Data: []byte(tc.src)}
			faults, err := Check(tree)
			if err != nil {
				t.Fatal(err)
			}
			if len(faults) != 1 || !strings.Contains(faults[0], tc.want) {
				t.Fatalf("faults %q, want one that contains %q", faults, tc.want)
			}
		})
	}
}
