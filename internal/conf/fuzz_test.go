package conf

import (
	"io"
	"os"
	"path/filepath"
	"testing"
)

func FuzzParse(f *testing.F) {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range input(text) {
			f.Add(file.data)
		}
	}
	f.Add([]byte("a: |2-\n    x\n   y\nb: >+\n  q\n\n  r\n\nc: 'it''s\n  x'\nd: \"\\u00e9 \\\n  z\"\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > 4096 {
			return
		}
		faults := new(Faults)
		file := Parse("f.yaml", src, faults)
		if faults.Len() == 0 {
			checkPlaces(t, file.Root)
		}
		var c plantConf
		Decode(file.Root, &c, faults)
		if !faults.HasErrors() && c.Name == "" && !file.Root.Field("name").Exists() {
			t.Error("a missing required key is no fault")
		}
		for _, fault := range faults.All() {
			if fault.Pos.File != "f.yaml" || fault.Pos.Line < 1 || fault.Pos.Column < 1 || fault.Message == "" || fault.Code == "" {
				t.Errorf("fault without its place or words: %+v", fault)
			}
		}
		if err := faults.Text(io.Discard); err != nil {
			t.Error(err)
		}
	})
}
