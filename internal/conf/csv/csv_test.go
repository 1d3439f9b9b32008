package csv

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/plantloom/plantloom/internal/conf"
)

func options() Options {
	return Options{Columns: []Column{
		{Name: "tag", Required: true, Unique: true}, {Name: "address", Required: true}, {Name: "unit"}, {Name: "max"}, {Name: "writable"}, {Name: "type"},
	}}
}

// read also asks for every typed cell, so that their faults are found too.
func read(src string) (*Table, *conf.Faults) {
	faults := new(conf.Faults)
	t := Read("t.csv", []byte(src), options(), faults)
	for _, r := range t.Rows {
		r.Float("max", faults)
		r.Bool("writable", faults)
		r.Enum("type", []string{"int", "float", "text"}, faults)
	}
	return t, faults
}

func TestTablesOfEverySpreadsheetReadAlike(t *testing.T) {
	t.Parallel()
	want := [][]string{{"0017", "ns=2;s=A,b", "50.5"}, {"größe", "two\nlines", ""}}
	for name, src := range map[string]string{
		"commas":            "tag,address,max\n0017,\"ns=2;s=A,b\",50.5\ngröße,\"two\nlines\",\n",
		"semicolons, CRLF":  "tag;address;max\r\n0017;\"ns=2;s=A,b\";50.5\r\n\r\ngröße;\"two\r\nlines\";\r\n",
		"tabs, BOM, no end": "\ufefftag\taddress\tmax\n0017\tns=2;s=A,b\t50.5\ngröße\t\"two\nlines\"\t",
		"other order":       "\nmax,tag,address\n50.5,0017,\"ns=2;s=A,b\"\n,größe,\"two\nlines\"",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table, faults := read(src)
			if err := faults.Err(); err != nil {
				t.Fatal(err)
			}
			var got [][]string
			for _, r := range table.Rows {
				got = append(got, []string{r.Text("tag"), r.Text("address"), r.Text("max")})
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEveryFaultOfATableHasItsPlace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		src  string
		want []string
	}{
		"decimal comma":                    {"tag;address;max\na;b;1.234,5\n", []string{`t.csv:2:5: column "max" wants a number, not "1.234,5"`}},
		"cp1252":                           {"tag,address\ngr\xf6\xdfe,b\n", []string{`t.csv:2:3: byte 0xF6 is not UTF-8`}},
		"utf-16":                           {"\xff\xfet\x00", []string{`t.csv:1:1: byte 0xFF is not UTF-8`}},
		"column name":                      {"tag,adress\na,b\n", []string{`t.csv:1:1: column "address" is missing; did you mean "adress"?`, `t.csv:1:5: unknown column "adress"; did you mean "address"?`}},
		"column twice":                     {"tag,address,tag\na,b,c\n", []string{`t.csv:1:13: column "tag" stands here for the second time`}},
		"cells":                            {"tag,address\nä,b,c\nx\n", []string{`t.csv:2:1: this row has 3 cells and the header 2`, `t.csv:3:1: this row has 1 cells and the header 2`}},
		"not unique, and empty":            {"tag,address\na,ü\na,\n", []string{`t.csv:3:1: "a" stands twice in column "tag"`, `t.csv:3:3: column "address" has no text in this row`}},
		"open quote":                       {"tag,address\nä,\"b\nc,d\n", []string{`t.csv:2:3: the quote that begins here is never closed`}},
		"text behind a quote":              {"tag,address\n\"ä\"x,b\n", []string{`t.csv:2:4: text stands behind a closed quote`}},
		"bool and enum":                    {"tag,address,writable,type\na,b,yes,flot\n", []string{`t.csv:2:5: column "writable" wants true or false, not "yes"; did you mean "true"?`, `t.csv:2:9: "flot" is not a value of column "type"; did you mean "float"?`}},
		"place behind a cell of two lines": {"tag,address,max\na,\"x\ny\",z\n", []string{`t.csv:3:4: column "max" wants a number, not "z"`}},
		"empty":                            {"\n", []string{`t.csv:1:1: the table is empty`}},
		"control character":                {"tag,address\na,\x00\n", []string{`t.csv:2:3: control character U+0000`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, faults := read(c.src)
			var got []string
			for _, f := range faults.All() {
				got = append(got, f.Error())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWholeNumbersKeepNoLeadingZero(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"12": 12, "-3": -3, "0": 0} {
		faults := new(conf.Faults)
		table := Read("t.csv", []byte("n\n"+text+"\n"), Options{Extra: true}, faults)
		if got, ok := table.Rows[0].Int("n", faults); got != want || !ok || faults.Len() > 0 {
			t.Errorf("%q is %d, %v", text, got, faults.Err())
		}
	}
	for _, text := range []string{"0017", "1.5", "x", "99999999999999999999"} {
		faults := new(conf.Faults)
		table := Read("t.csv", []byte("n\n"+text+"\n"), Options{Extra: true}, faults)
		if got, ok := table.Rows[0].Int("n", faults); ok || faults.Len() != 1 {
			t.Errorf("%q is %d without a fault", text, got)
		}
	}
}

func TestAColumnThatIsNotThereIsEmpty(t *testing.T) {
	t.Parallel()
	table, _ := read("tag,address\na,b\n")
	r := table.Rows[0]
	if table.Has("unit") || r.Text("unit") != "" || r.Cell("unit").Pos != r.Pos() {
		t.Errorf("unit is %+v", r.Cell("unit"))
	}
}

func TestAFileThatCannotBeReadIsAFault(t *testing.T) {
	t.Parallel()
	faults := new(conf.Faults)
	if got := ReadFile(filepath.Join(t.TempDir(), "none.csv"), options(), faults); len(got.Rows) != 0 || faults.Len() != 1 {
		t.Errorf("%+v, %v", got, faults.Err())
	}
	path := filepath.Join(t.TempDir(), "some.csv")
	if err := os.WriteFile(path, []byte("tag,address\na,b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ReadFile(path, options(), faults); len(got.Rows) != 1 || faults.Len() != 1 {
		t.Errorf("%+v, %v", got, faults.Err())
	}
}

func FuzzRead(f *testing.F) {
	f.Add("tag,address\na,b\n")
	f.Add("\ufefftag;address\r\n\"a\"\"b\";\"c\nd\"\r\n")
	f.Add("tag\taddress\n\"a")
	f.Fuzz(func(t *testing.T, src string) {
		table, faults := read(src)
		lines := strings.Count(src, "\n") + strings.Count(src, "\r") + 1
		for _, fault := range faults.All() {
			if fault.Pos.Line < 1 || fault.Pos.Column < 1 || fault.Pos.Line > lines {
				t.Errorf("%v is outside the file", fault)
			}
		}
		for _, r := range table.Rows {
			if len(r.cells) != len(table.Header) {
				t.Errorf("row at %s has %d cells", r.Pos(), len(r.cells))
			}
		}
		if err := faults.Text(io.Discard); err != nil {
			t.Error(err)
		}
	})
}
