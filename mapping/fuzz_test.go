package mapping

import (
	"os"
	"testing"
	"testing/fstest"

	"github.com/plantloom/plantloom/internal/conf"
)

// FuzzLoad feeds any text as mapping, plant file and table: faults are fine, panics and places outside the files are not.
func FuzzLoad(f *testing.F) {
	for _, name := range []string{"press", "torque", "download", "traps", "later"} {
		text, err := os.ReadFile("testdata/faults/" + name + ".map.yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), "use: a.map.yaml\nmachines: m.csv\n", "name,asset,plc\nP1,a/b/c/P1,P1\n")
	}
	f.Add(station, "use: a.map.yaml\nmachines: m.csv\n", "name;asset;plc;limit\n")
	f.Fuzz(func(t *testing.T, mapping, plant, table string) {
		fsys := fstest.MapFS{
			"a.map.yaml":   {Data: []byte(mapping)},
			"p.plant.yaml": {Data: []byte(plant)},
			"m.csv":        {Data: []byte(table)},
		}
		var faults conf.Faults
		s := Load(fsys, plantTags(), &faults)
		for _, x := range faults.All() {
			if _, ok := fsys[x.Pos.File]; !ok || x.Pos.Line < 0 || x.Pos.Column < 0 || x.Code == "" || x.Message == "" {
				t.Errorf("fault %+v", x)
			}
		}
		if faults.HasErrors() && len(s.Bound) > 0 {
			t.Error("machines are bound in spite of a fault")
		}
	})
}
