package conf

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// find parses src, and for each mark in marks returns the place of its first
// occurrence in the text of key f as line:column.
func find(t *testing.T, src string, marks ...string) []string {
	t.Helper()
	faults := new(Faults)
	n := Parse("f.yaml", []byte(src), faults).Root.Field("f")
	if faults.Len() > 0 {
		t.Fatalf("faults: %v", faults.Err())
	}
	var out []string
	for _, m := range marks {
		at := strings.Index(n.Text(), m)
		if at < 0 {
			t.Fatalf("%q is not in %q", m, n.Text())
		}
		p := n.ScalarPos(at)
		out = append(out, fmt.Sprintf("%d:%d", p.Line, p.Column))
	}
	return out
}

func TestAnOffsetInAScalarHasItsPlaceInTheFile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		src   string
		marks []string
		want  []string
	}{
		"plain":                         {"f: =a + bad\n", []string{"=", "a", "bad"}, []string{"1:4", "1:5", "1:9"}},
		"plain behind wide runes":       {"é: 1\nf: =größe + bad # c\n", []string{"größe", "bad"}, []string{"2:5", "2:13"}},
		"plain over lines":              {"f: =a +\n  ü * bad\n\n  end\n", []string{"a", "ü", "bad", "end"}, []string{"1:5", "2:3", "2:7", "4:3"}},
		"single quotes":                 {"f: '=x == ''é'' ? bad'\n", []string{"=x", "'é", "é", "bad"}, []string{"1:5", "1:11", "1:13", "1:19"}},
		"single quotes over lines":      {"f: 'a\n   b''c\n\n   bad'\n", []string{"b", "c", "bad"}, []string{"2:4", "2:7", "4:4"}},
		"double quotes":                 {"f: \"=\\\"\\u00e9\\x41\\tq\\\" + bad\"\n", []string{"é", "A", "q", "bad"}, []string{"1:8", "1:14", "1:20", "1:26"}},
		"double quotes over lines":      {"f: \"a \\\n   b\n   bad\"\n", []string{"a", "b", "bad"}, []string{"1:5", "2:4", "3:4"}},
		"literal block":                 {"f: |\n  if é {\n    bad\n\n  } end\n", []string{"if", "é", "bad", "}", "end"}, []string{"2:3", "2:6", "3:5", "5:3", "5:5"}},
		"literal block after blanks":    {"f: |-\n\n   a\n    bad\n", []string{"a", "bad"}, []string{"3:4", "4:5"}},
		"literal block with indication": {"f: |2\n    a\n   bad\n", []string{"  a", "a", "bad"}, []string{"2:3", "2:5", "3:4"}},
		"literal block in a list":       {"f: a\ng:\n  - h: |2\n        x\n", []string{"a"}, []string{"1:4"}},
		"folded block":                  {"f: >-\n  a +\n  bad\n\n  c\n    more\n  end\n", []string{"a", "bad", "c", "more", "end"}, []string{"2:3", "3:3", "5:3", "6:5", "7:3"}},
		"windows line ends":             {"# c\r\nf: |\r\n  a\r\n\r\n  bad\r\n", []string{"a", "bad"}, []string{"3:3", "5:3"}},
		"byte order mark":               {"\ufefff: =bad\n", []string{"bad"}, []string{"1:5"}},
		"in a flow map":                 {"f: =a\ng: {x: 1}\n", []string{"a"}, []string{"1:5"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, find(t, c.src, c.marks...)); diff != "" {
				t.Errorf("places of %q differ (-want +got):\n%s", c.marks, diff)
			}
		})
	}
}

func TestTheEndOfAScalarHasAPlace(t *testing.T) {
	t.Parallel()
	n := Parse("f.yaml", []byte("f: abc # why\n"), new(Faults)).Root.Field("f")
	if got := n.ScalarPos(len(n.Text())).String(); got != "f.yaml:1:7" {
		t.Errorf("end is at %s", got)
	}
	if got := n.ScalarPos(99); got != n.ScalarPos(3) {
		t.Errorf("an offset outside is at %s", got)
	}
	text, at, ok := n.Comment()
	if text != "# why" || at.String() != "f.yaml:1:8" || !ok {
		t.Errorf("comment %q at %s, %v", text, at, ok)
	}
}

// checkPlaces holds for every scalar of every file: its places never run
// backwards, lie in the file, and show the very rune that the text has, except
// for white space and what an escape stands for.
func checkPlaces(t *testing.T, n *Node) {
	t.Helper()
	for _, name := range n.Keys() {
		checkPlaces(t, n.Field(name))
	}
	for _, item := range n.Items() {
		checkPlaces(t, item)
	}
	if n.Kind() != Scalar || n.Broken() {
		return
	}
	before := n.ValuePos()
	for at, r := range n.Text() {
		p := n.ScalarPos(at)
		if p.compare(before) < 0 {
			t.Fatalf("place of offset %d of %q runs back from %s to %s", at, n.Text(), before, p)
		}
		before = p
		lines := n.File().source.lines
		if p.Line > len(lines) || p.Column > utf8.RuneCountInString(lines[p.Line-1])+1 {
			t.Fatalf("place %s of %q is outside the file", p, n.Text())
		}
		if strings.ContainsRune(" \t\n", r) {
			continue
		}
		row := []rune(lines[p.Line-1])
		if p.Column > len(row) || (row[p.Column-1] != r && row[p.Column-1] != '\\') {
			t.Fatalf("offset %d (%q) of %q is placed at %s of %q", at, r, n.Text(), p, lines)
		}
	}
}
