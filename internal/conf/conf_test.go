package conf

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the expected faults in testdata")

type colour string

func (colour) Values() []string { return []string{"red", "green", "blue"} }

// point reads itself from the text "x/y".
type point struct{ X, Y int }

func (p *point) UnmarshalText(text []byte) error {
	if _, err := fmt.Sscanf(string(text), "%d/%d", &p.X, &p.Y); err != nil {
		return fmt.Errorf("%q is not x/y", text)
	}
	return nil
}

// Base holds the keys that stand beside those of plantConf.
type Base struct {
	Name string `conf:"name,required"`
}

type plantConf struct {
	Base     `conf:",inline"`
	Order    string             `conf:"order"`
	Port     uint16             `conf:"port"`
	Small    int8               `conf:"small"`
	Count    int                `conf:"count,positive"`
	Scale    float64            `conf:"scale"`
	Enabled  bool               `conf:"enabled"`
	Timeout  time.Duration      `conf:"timeout,positive"`
	Buffer   Size               `conf:"buffer,positive"`
	Colour   colour             `conf:"colour"`
	Where    point              `conf:"where"`
	Brokers  []string           `conf:"brokers"`
	Limits   map[string]int     `conf:"limits"`
	Labels   map[string]string  `conf:"labels"`
	Password Secret             `conf:"password"`
	TLS      *tlsConf           `conf:"tls"`
	Sources  map[string]tlsConf `conf:"sources"`
	Raw      *Node              `conf:"raw"`
}

type tlsConf struct {
	Cert string `conf:"cert,required"`
	Key  Secret `conf:"key"`
}

func (plantConf) LaterKeys() map[string]string {
	return map[string]string{"shadow": "a second version beside the running one"}
}

func decodeAll(files []section) (*Faults, plantConf) {
	faults := new(Faults)
	var c plantConf
	for _, f := range files {
		Decode(Parse(f.name, f.data, faults).Root, &c, faults)
	}
	return faults, c
}

// input restores in txtar what an editor would not keep: CR is written as ␍.
func input(archive []byte) (files []section) {
	_, all := splitTxtar(archive)
	for _, f := range all {
		if strings.HasSuffix(f.name, ".yaml") {
			files = append(files, section{name: f.name, data: bytes.ReplaceAll(f.data, []byte("␍"), []byte("\r"))})
		}
	}
	return files
}

func TestEveryMistakeIsReportedAtItsPlace(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			faults, _ := decodeAll(input(text))
			var got strings.Builder
			if err := faults.Text(&got); err != nil {
				t.Fatal(err)
			}
			golden(t, path, text, got.String())
		})
	}
}

func golden(t *testing.T, path string, archive []byte, got string) {
	t.Helper()
	comment, files := splitTxtar(archive)
	for i, f := range files {
		if f.name != "faults" {
			continue
		}
		if *update {
			files[i].data = []byte(got)
			if err := os.WriteFile(path, joinTxtar(comment, files), 0o644); err != nil {
				t.Fatal(err)
			}
			return
		}
		if diff := cmp.Diff(string(f.data), got); diff != "" {
			t.Errorf("faults differ (-want +got):\n%s", diff)
		}
		return
	}
	t.Fatalf("%s has no file \"faults\"", path)
}

func TestFaultsAsJSONCarryPlaceCodeAndHint(t *testing.T) {
	t.Parallel()
	faults, _ := decodeAll([]section{{name: "a.yaml", data: []byte("name: x\nbrokrs: [a]\n")}})
	got, err := json.Marshal(faults)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"file":"a.yaml","line":2,"column":1,"severity":"error","code":"unknown-key","message":"unknown key \"brokrs\"","near":"brokers"}]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, err := json.Marshal(new(Faults)); err != nil || string(got) != "[]" {
		t.Errorf("no faults: got %s, %v", got, err)
	}
}
