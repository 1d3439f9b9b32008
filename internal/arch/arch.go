// Package arch reads the source tree and reports where it breaks the rules of the house: import direction, package
// comments, file sizes, and connectors that nobody listed. Only its own tests use it.
package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"sort"
	"strings"
)

const module = "github.com/plantloom/plantloom/"

// maxLines is where a file has become unreadable; 300 is the aim.
const maxLines = 600

// rule says which of our own packages the packages below dir may import. The first rule that fits counts.
type rule struct {
	dir   string
	allow []string
}

// rules is the import direction of docs/architecture.md, the narrow ones first. "std" alone allows nothing of ours.
var rules = []rule{
	{"mapping/formula", []string{"pipeline", "internal/nearest", "internal/unit", "gen"}},
	{"mapping/engine", []string{"pipeline", "pipeline/inbox", "internal/nearest", "internal/unit", "gen", "mapping/formula"}},
	{"mapping/maptest", []string{"pipeline", "pipeline/inbox", "internal/conf", "internal/unit", "gen", "mapping", "mapping/engine", "mapping/formula"}},
	{"mapping", []string{"pipeline", "pipeline/inbox", "internal/conf", "internal/unit", "gen", "mapping/engine", "mapping/formula"}},
	{"pipeline/inbox", []string{"pipeline", "gen"}},
	{"pipeline/pipelinetest", []string{"pipeline", "gen"}},
	{"pipeline/broker", []string{"internal/child"}},
	{"pipeline/kafka", []string{"pipeline", "gen"}},
	{"pipeline/spool", []string{"pipeline", "gen"}},
	{"pipeline/lane", []string{"pipeline", "pipeline/kafka", "gen"}},
	{"pipeline/collect", []string{"pipeline", "pipeline/inbox", "pipeline/kafka", "gen", "internal/wait"}},
	{"pipeline/step", []string{"pipeline", "pipeline/inbox", "pipeline/kafka", "gen", "mapping", "mapping/engine", "internal/wait"}},
	{"pipeline/dispatch", []string{"pipeline", "pipeline/kafka", "gen"}},
	{"pipeline/run", []string{"*"}},
	{"pipeline", []string{"gen"}},
	{"connectors/*", []string{"pipeline", "internal/conf", "internal/unit", "gen"}},
	{"connectors", []string{"pipeline", "connectors"}},
	{"gateway", []string{"pipeline", "pipeline/inbox", "pipeline/kafka", "gateway", "gen", "internal/wait"}},
	{"internal/conf", []string{"internal/conf", "internal/nearest"}},
	{"internal/unit", []string{"internal/nearest"}},
	{"internal/nearest", []string{"std"}},
	{"internal", []string{"internal"}},
	{"gen", []string{"gen"}},
}

// only names packages that a library may be imported from and nowhere else.
var only = map[string][]string{
	"github.com/segmentio/kafka-go": {"pipeline/kafka"},
	"github.com/gopcua/opcua":       {"connectors/opcua", "internal/uaserver", "examples/demo/plant", "e2e", "examples/crashlab"},
}

// forbidden names what a pure package must not import (R5: the engine is a function of its log).
var forbidden = map[string][]string{
	"mapping/engine":   {"os", "net", "net/http", "math/rand", "math/rand/v2", "crypto/rand", "sync", "os/exec", "io/fs", "log/slog"},
	"internal/unit":    {"os", "net", "net/http", "math/rand", "math/rand/v2", "crypto/rand", "sync", "os/exec", "io/fs", "log/slog"},
	"internal/nearest": {"os", "net", "net/http", "math/rand", "math/rand/v2", "crypto/rand", "sync", "os/exec", "io/fs", "log/slog"},
	"mapping/formula":  {"os", "net", "net/http", "math/rand", "math/rand/v2", "crypto/rand", "sync", "os/exec", "io/fs", "log/slog"},
}

// Check returns every break of a rule in the tree, sorted.
func Check(tree fs.FS) ([]string, error) {
	c := checker{docs: map[string]bool{}, seen: map[string]bool{}}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && name != "." || d.Name() == "testdata" || d.Name() == "node_modules" || name == "var" || name == "tools" || name == "third_party" || name == "bin") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		return c.file(name, src)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the tree: %w", err)
	}
	for dir := range c.seen {
		if !c.docs[dir] {
			c.report("%s: the package has no doc comment; say what it is for, what it never does and who may import it", dir)
		}
	}
	if err := c.connectors(tree); err != nil {
		return nil, err
	}
	sort.Strings(c.faults)
	return c.faults, nil
}

type checker struct {
	faults     []string
	docs, seen map[string]bool
}

func (c *checker) report(format string, args ...any) {
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}

func (c *checker) file(name string, src []byte) error {
	f, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ParseComments)
	if err != nil {
		return fmt.Errorf("parsing %s: %w", name, err)
	}
	dir, test := path.Dir(name), strings.HasSuffix(name, "_test.go")
	if ast.IsGenerated(f) {
		return nil
	}
	if n := strings.Count(string(src), "\n"); n > maxLines {
		c.report("%s: %d lines, over %d; split it by what it is about", name, n, maxLines)
	}
	if !test {
		c.seen[dir] = true
		c.docs[dir] = c.docs[dir] || f.Doc != nil
	}
	for _, imp := range f.Imports {
		p := strings.Trim(imp.Path.Value, `"`)
		c.restricted(name, dir, p)
		if !test {
			c.imports(name, dir, p)
		}
	}
	return nil
}

// restricted checks imports that only some packages may make, tests included.
func (c *checker) restricted(name, dir, p string) {
	for lib, dirs := range only {
		if (p == lib || strings.HasPrefix(p, lib+"/")) && !within(dir, dirs) {
			c.report("%s: imports %s, which only %s may", name, p, strings.Join(dirs, ", "))
		}
	}
}

func (c *checker) imports(name, dir, p string) {
	for _, bad := range forbidden[dir] {
		if p == bad {
			c.report("%s: imports %s; %s is pure", name, p, dir)
		}
	}
	own, ok := strings.CutPrefix(p, module)
	if !ok {
		return
	}
	for _, r := range rules {
		if !matches(dir, r.dir) {
			continue
		}
		if own != dir && !allowed(own, r.allow) && !(r.dir == "connectors/*" && within(own, []string{dir})) {
			c.report("%s: imports %s; %s may import only %s", name, own, r.dir, strings.Join(r.allow, ", "))
		}
		return
	}
	if within(own, []string{"examples", "e2e"}) && !within(dir, []string{"examples", "e2e"}) {
		c.report("%s: imports %s; the demo and the end-to-end tests are never linked into plantloom", name, own)
	}
}

// connectors checks that connectors/connectors.go lists every folder below connectors.
func (c *checker) connectors(tree fs.FS) error {
	entries, err := fs.ReadDir(tree, "connectors")
	if err != nil {
		return nil // a tree without connectors has none to list
	}
	list, err := fs.ReadFile(tree, "connectors/connectors.go")
	if err != nil {
		return fmt.Errorf("reading the list of connectors: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() && !strings.Contains(string(list), `"`+module+"connectors/"+e.Name()+`"`) {
			c.report("connectors/%s is not listed: add %s.Kind() to All in connectors/connectors.go", e.Name(), e.Name())
		}
	}
	return nil
}

func matches(dir, pattern string) bool {
	if base, ok := strings.CutSuffix(pattern, "/*"); ok {
		return strings.HasPrefix(dir, base+"/")
	}
	if pattern == "pipeline" || pattern == "mapping" || pattern == "connectors" {
		return dir == pattern
	}
	return within(dir, []string{pattern})
}

func allowed(own string, allow []string) bool {
	for _, a := range allow {
		switch {
		case a == "*", own == a:
			return true
		case (a == "gen" || a == "connectors" || a == "internal" || a == "gateway") && strings.HasPrefix(own, a+"/"):
			return true
		case a == "internal/conf" && strings.HasPrefix(own, "internal/conf/"):
			return true
		}
	}
	return false
}

func within(dir string, dirs []string) bool {
	for _, d := range dirs {
		if dir == d || strings.HasPrefix(dir, d+"/") {
			return true
		}
	}
	return false
}
