package run

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/pipeline"
)

// gauge is a kind of both roles, for configurations of these tests.
type gauge struct {
	Endpoint string      `conf:"endpoint,required"`
	Password conf.Secret `conf:"password"`
	Depth    int         `conf:"depth"`
}

func kinds() []pipeline.Kind {
	return []pipeline.Kind{
		pipeline.NewKind("gauge", gauge{Depth: 3},
			func(gauge, pipeline.Host) (pipeline.Source, error) { return nil, nil },
			func(gauge, pipeline.Host) (pipeline.Sink, error) { return nil, nil }),
		pipeline.NewKind("valve", gauge{}, nil, func(gauge, pipeline.Host) (pipeline.Sink, error) { return nil, nil }),
	}
}

const tagList = "tag,address,asset,type,unit,write\nL1/a,x,demo/L1,int,,\n"

// load reads a plant directory of these files and returns it with its faults as "file:line:column: message".
func load(t *testing.T, files map[string]string) (*Plant, []string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var faults conf.Faults
	p := Load(dir, kinds(), &faults)
	var out []string
	for _, f := range faults.All() {
		out = append(out, fmt.Sprintf("%s:%d:%d: %s | %s | %s", filepath.Base(f.Pos.File), f.Pos.Line, f.Pos.Column, f.Message, f.Near, f.Hint))
	}
	return p, out
}

func TestAWrongConfigurationSaysWhatWhereAndWhatToDo(t *testing.T) {
	t.Parallel()
	const head = "plant: v1\nkafka: {embedded: true}\n"
	for name, tc := range map[string]struct{ plant, want string }{
		"an unknown key":                    {head + "sorces: {}\n", "plant.yaml:3:1: unknown key|sources"},
		"a version of another time":         {"plant: v2\nkafka: {embedded: true}\n", "plant.yaml:1:8: plant: v2|v1"},
		"no version":                        {"kafka: {embedded: true}\n", "plant.yaml:1:1: |plant"},
		"neither embedded nor brokers":      {"plant: v1\nkafka: {partitions: 4}\n", "plant.yaml:2:1: kafka needs either|embedded: true for one box"},
		"both embedded and brokers":         {"plant: v1\nkafka: {embedded: true, brokers: [a:1]}\n", "plant.yaml:2:1: kafka needs either"},
		"a namespace with a dot":            {head + "namespace: a.b\n", "plant.yaml:3:12: the namespace a.b"},
		"a source without a kind":           {head + "sources:\n  line: {endpoint: x}\n", "plant.yaml:4:3: source line has no kind|gauge"},
		"an unknown kind":                   {head + "sources:\n  line: {kind: gage, endpoint: x}\n", "plant.yaml:4:16: no kind of source is called \"gage\"|gauge"},
		"a sink's kind for a source":        {head + "sources:\n  line: {kind: valve, endpoint: x}\n", "plant.yaml:4:16: no kind of source is called \"valve\""},
		"an option that the kind lacks":     {head + "sources:\n  line: {kind: gauge, endpoint: x, dept: 4}\n", "plant.yaml:4:36: unknown key|depth"},
		"a required option that is missing": {head + "sources:\n  line: {kind: gauge}\n", "plant.yaml:4:|endpoint"},
		"a number that is none":             {head + "sources:\n  line: {kind: gauge, endpoint: x, depth: many}\n", "plant.yaml:4:43: "},
		"a password in the file":            {head + "sources:\n  line: {kind: gauge, endpoint: x, password: hunter2}\n", "plant.yaml:4:46: |env:"},
		"a tag list that is not there":      {head + "sources:\n  line: {kind: gauge, endpoint: x, tags: tag.csv}\n", "plant.yaml:4:42: the tag list cannot be read|tags.csv"},
		"a tag in two lists":                {head + "sources:\n  a: {kind: gauge, endpoint: x, tags: tags.csv}\n  b: {kind: gauge, endpoint: x, tags: tags.csv}\n", "plant.yaml:5:39: tag L1/a is in the lists of a and b"},
		"an event topic that is not there":  {head + "sinks:\n  erp: {kind: valve, endpoint: x, events: [event.quality.v1, event.prod.v1]}\n", "plant.yaml:4:62: \"event.prod.v1\" is not a topic"},
		"a name that no topic can have":     {head + "sinks:\n  ERP.1: {kind: valve, endpoint: x}\n", "plant.yaml:4:3: the name ERP.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, faults := load(t, map[string]string{"plant.yaml": tc.plant, "tags.csv": tagList})
			parts := strings.Split(tc.want, "|")
			for _, f := range faults {
				if strings.HasPrefix(f, parts[0]) && (len(parts) == 1 || strings.Contains(f, parts[1])) {
					if strings.Contains(f, "hunter2") {
						t.Fatalf("the secret is printed: %s", f)
					}
					return
				}
			}
			t.Fatalf("faults:\n%s\nwant one that begins with %q", strings.Join(faults, "\n"), tc.want)
		})
	}
}

func TestAllFaultsOfAllFilesComeInOnePass(t *testing.T) {
	t.Parallel()
	_, faults := load(t, map[string]string{
		"plant.yaml": "plant: v1\nkafka: {embedded: tru}\nsources:\n  line: {kind: gage}\n  other: {kind: gauge, endpoint: x, tags: tags.csv}\n",
		"tags.csv":   "tag,address,asset,type,unit,write\nL1/a,x,demo/L1,integer,,\n",
	})
	for _, want := range []string{"plant.yaml:2:19", "plant.yaml:4:16", "tags.csv:2:16"} {
		found := false
		for _, f := range faults {
			found = found || strings.HasPrefix(f, want)
		}
		if !found {
			t.Errorf("no fault at %s in:\n%s", want, strings.Join(faults, "\n"))
		}
	}
}

func TestAMissingPlantFileIsAFault(t *testing.T) {
	t.Parallel()
	_, faults := load(t, nil)
	if len(faults) == 0 || !strings.Contains(faults[0], "plant.yaml") {
		t.Fatalf("faults %q", faults)
	}
}

func TestDefaultsStandWhereTheFileIsSilent(t *testing.T) {
	t.Parallel()
	p, faults := load(t, map[string]string{
		"plant.yaml": "plant: v1\nkafka: {brokers: [k1:9092]}\nsinks:\n  erp: {kind: gauge, endpoint: x}\n",
	})
	if len(faults) > 0 {
		t.Fatalf("faults %q", faults)
	}
	if p.File.Kafka.Partitions != 12 || p.File.API.HTTP != "127.0.0.1:8480" || p.File.Namespace != "plantloom" || !p.File.Kafka.Fsync {
		t.Errorf("defaults: %+v", p.File)
	}
	if c := p.Sinks[0].Config.(*gauge); c.Depth != 3 || c.Endpoint != "x" || len(p.Sinks[0].Events) != 2 {
		t.Errorf("sink: %+v %v", c, p.Sinks[0].Events)
	}
}
