package mapping

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/mapping/engine"
	"github.com/plantloom/plantloom/pipeline"
)

const station = `mapping: v1
machine: {plc: text, limit: float}
inputs:
  done: {tag: "${plc}/Done", type: bool}
  part: {tag: "${plc}/Part", type: text}
rules:
  - name: result
    when: done
    emit: QualityEvent
    key: =part
    set: {type: VERDICT}
`

func plantDir(extra map[string]string) fstest.MapFS {
	out := fstest.MapFS{}
	for name, text := range map[string]string{
		"station.map.yaml": station,
		"a.plant.yaml":     "use: station.map.yaml\nmachines: stations.csv\n",
		"stations.csv":     "name,asset,plc,limit,work_center,remark\nS1,x/y/z/S1,0017,1.5,WC-1,first\nS2,x/y/z/S2,P2,2,WC-2,\n",
	} {
		out[name] = &fstest.MapFile{Data: []byte(text)}
	}
	for name, text := range extra {
		if text == "" {
			delete(out, name)
			continue
		}
		out[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return out
}

func plantTags() map[string][]pipeline.Tag {
	return map[string][]pipeline.Tag{
		"one": {
			{ID: "0017/Done", Asset: "x/y/z/S1", Type: "bool"},
			{ID: "P2/Part", Asset: "x/y/z/S2", Type: "text"}, {ID: "P2/Done", Asset: "x/y/z/S2/cell", Type: "bool"},
			{ID: "unused", Asset: "x/y/z/S2"},
		},
		"two": {{ID: "0017/Part", Asset: "x/y/z/S1"}},
	}
}

func load(t *testing.T, fsys fs.FS, tags map[string][]pipeline.Tag) *Set {
	t.Helper()
	var faults conf.Faults
	s := Load(fsys, tags, &faults)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAPlantFileStampsAMappingOutForEveryRow(t *testing.T) {
	t.Parallel()
	s := load(t, plantDir(nil), plantTags())
	var got []engine.Machine
	for _, b := range s.Bound {
		got = append(got, b.Machine)
	}
	text := pipeline.Text
	want := []engine.Machine{{
		Name: "S1", Asset: "x/y/z/S1", Sources: []string{"one", "two"},
		Columns: map[string]pipeline.Value{"name": text("S1"), "asset": text("x/y/z/S1"), "plc": text("0017"), "limit": pipeline.Double(1.5)},
		Inputs:  map[string]string{"done": "0017/Done", "part": "0017/Part"}, Outputs: map[string]engine.Target{},
	}, {
		Name: "S2", Asset: "x/y/z/S2", Sources: []string{"one"},
		Columns: map[string]pipeline.Value{"name": text("S2"), "asset": text("x/y/z/S2"), "plc": text("P2"), "limit": pipeline.Double(2)},
		Inputs:  map[string]string{"done": "P2/Done", "part": "P2/Part"}, Outputs: map[string]engine.Target{},
	}}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b pipeline.Value) bool { return a == b })); diff != "" {
		t.Errorf("machines (-want +got):\n%s", diff)
	}
}

func TestTheSourcesOfAnAssetAreThoseThatItsMappingsRead(t *testing.T) { // R10
	t.Parallel()
	s := load(t, plantDir(nil), plantTags())
	if diff := cmp.Diff([]string{"one", "two"}, s.SourcesOf("x/y/z/S1")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"one"}, s.SourcesOf("x/y/z/S2")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"x/y/z/S1", "x/y/z/S2"}, s.Assets()); diff != "" {
		t.Error(diff)
	}
}

func TestOperationsAreRoutedByTheMachineTable(t *testing.T) {
	t.Parallel()
	s := load(t, plantDir(nil), plantTags())
	if asset, ok := s.Route("WC-2"); !ok || asset != "x/y/z/S2" {
		t.Errorf("WC-2 goes to %q, %v", asset, ok)
	}
	if asset, ok := s.Route("WC-3"); ok {
		t.Errorf("WC-3 goes to %q", asset)
	}
}

func TestASetOfTheLogLoadsAgainWithoutTagLists(t *testing.T) { // R14
	t.Parallel()
	first := load(t, plantDir(nil), plantTags())
	again := load(t, FromFiles(first.Files), nil)
	if again.Digest != first.Digest {
		t.Errorf("digest %s became %s", first.Digest, again.Digest)
	}
	if diff := cmp.Diff(first.SourcesOf("x/y/z/S1"), again.SourcesOf("x/y/z/S1")); diff != "" {
		t.Error(diff)
	}
	if len(again.Bound) != 2 || again.Bound[0].Machine.Inputs["part"] != "0017/Part" {
		t.Errorf("bound again: %+v", again.Bound)
	}
}

func TestTheDigestChangesWithWhatTheSetDependsOn(t *testing.T) { // R14
	t.Parallel()
	base := load(t, plantDir(nil), plantTags()).Digest
	if got := load(t, plantDir(map[string]string{"README.md": "hello"}), plantTags()).Digest; got != base {
		t.Error("a file that no mapping reads changes the digest")
	}
	for name, extra := range map[string]map[string]string{
		"mapping": {"station.map.yaml": station + "# a comment\n"},
		"machine": {"stations.csv": "name,asset,plc,limit\nS2,x/y/z/S2,P2,2\n"},
	} {
		if got := load(t, plantDir(extra), plantTags()).Digest; got == base {
			t.Errorf("another %s has the same digest", name)
		}
	}
	tags := plantTags()
	tags["three"], tags["two"] = tags["two"], nil
	if got := load(t, plantDir(nil), tags).Digest; got == base {
		t.Error("a tag that moved to another source leaves the digest")
	}
}

func TestFaultsOfTheBindingNameTheirPlace(t *testing.T) {
	t.Parallel()
	const rows = "name,asset,plc,limit,work_center\n"
	for name, c := range map[string]struct {
		extra map[string]string
		tags  func(map[string][]pipeline.Tag)
		want  []string
	}{
		"a tag of another asset is the row's fault when other rows are right": {
			extra: map[string]string{"stations.csv": rows + "S1,x/y/z/S1,0017,1,A\nS2,x/y/z/S3,P2,2,B\n"},
			want:  []string{`stations.csv:3:13: machine "S2": tag "P2/Done" belongs to the asset "x/y/z/S2/cell", not to "x/y/z/S3"; and 1 more like it [other-asset]`},
		},
		"a tag of another type": {
			tags: func(m map[string][]pipeline.Tag) { m["one"][1].Type = "float" },
			want: []string{`stations.csv:3:13: machine "S2": tag "P2/Part" is float in its tag list, and text here [tag-type]`},
		},
		"one work centre with two assets": {
			extra: map[string]string{"stations.csv": rows + "S1,x/y/z/S1,0017,1,A\nS2,x/y/z/S2,P2,2,A\n"},
			want:  []string{`stations.csv:3:18: work centre "A" is asset "x/y/z/S1" elsewhere, and "x/y/z/S2" here [two-assets]`},
		},
		"an asset path with a slash in front": {
			extra: map[string]string{"stations.csv": rows + "S2,/x/y/z/S2,P2,2,A\n"},
			want:  []string{`stations.csv:2:4: "/x/y/z/S2" is not an asset path [wrong-type]`},
		},
		"a plant file without a table": {
			extra: map[string]string{"a.plant.yaml": "use: station.map.yaml\nmachines: ../stations.csv\n"},
			want:  []string{`a.plant.yaml:2:11: "../stations.csv" is not a file of this directory [missing-file]`},
		},
		"the same machine in two plant files": {
			extra: map[string]string{"b.plant.yaml": "use: station.map.yaml\nmachines: stations.csv\n"},
			want: []string{
				`stations.csv:2:1: station.map.yaml already has a machine "S1" [duplicate-name]`,
				`stations.csv:3:1: station.map.yaml already has a machine "S2" [duplicate-name]`,
			},
		},
		"a mapping of another version": {
			extra: map[string]string{"station.map.yaml": strings.Replace(station, "v1", "v2", 1)},
			want:  []string{`station.map.yaml:1:10: "v2" is not a value of "mapping"; did you mean "v1"? [unknown-value]`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tags := plantTags()
			if c.tags != nil {
				c.tags(tags)
			}
			var faults conf.Faults
			s := Load(plantDir(c.extra), tags, &faults)
			var got []string
			for _, f := range faults.All() {
				got = append(got, fmt.Sprintf("%s [%s]", f.Error(), f.Code))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
			if len(s.Bound) > 0 {
				t.Error("machines are bound in spite of a fault")
			}
		})
	}
}

func TestExpandFindsDirectoriesWithMappings(t *testing.T) {
	t.Parallel()
	got, err := Expand([]string{"testdata/...", "x.map.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"testdata/faults", "testdata/spec", "x.map.yaml"}, got); diff != "" {
		t.Error(diff)
	}
	got, err = Expand([]string{"../examples/..."})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"../examples/bottling-line", "../examples/torque-station"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not among %v", want, got)
		}
	}
	if _, err := Expand([]string{"maptest/..."}); err == nil { // only its testdata holds mappings
		t.Error("a tree without mappings is no error")
	}
}
