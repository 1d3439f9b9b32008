// Package run builds a plant from its directory and keeps it running: it reads plant.yaml, starts the roles that this
// process has, restarts what fails with a back-off, and says of each component how it is.
//
// It knows every other package of the pipeline and no protocol; connectors come from the list that it is given.
// cmd/plantloom imports it.
package run

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"time"

	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/mapping"
	"github.com/plantloom/plantloom/pipeline"
)

// File is plant.yaml.
type File struct {
	Plant     string                `conf:"plant,required"` // version of the format: v1
	Namespace string                `conf:"namespace"`      // prefix of every topic and transactional id
	Site      string                `conf:"site"`           // part of every event id; default: the first two steps of the asset paths
	StateDir  string                `conf:"state_dir"`      // relative to the plant directory
	Kafka     Kafka                 `conf:"kafka"`
	Sources   map[string]*conf.Node `conf:"sources"`
	Sinks     map[string]*conf.Node `conf:"sinks"`
	API       API                   `conf:"api"`
	Lateness  time.Duration         `conf:"lateness"` // how long samples may come out of order, default 2 s
}

// Kafka says where the log is.
type Kafka struct {
	Embedded   bool     `conf:"embedded"`   // run the broker for one box as a child process
	Listen     string   `conf:"listen"`     // of the embedded broker
	Fsync      bool     `conf:"fsync"`      // embedded: nil means on the disk, default true
	Brokers    []string `conf:"brokers"`    // host:port of a cluster
	Partitions int      `conf:"partitions"` // fixed when the topics are created; default 4 embedded, 12 on a cluster
}

// API says where the gateway listens.
type API struct {
	HTTP string `conf:"http"` // REST, Server-Sent Events, console, metrics
	GRPC string `conf:"grpc"`
}

// Endpoint is a source or a sink of plant.yaml.
type Endpoint struct {
	Name   string
	Kind   pipeline.Kind
	Config any // of Kind, decoded
	Tags   []pipeline.Tag
	Events []string // of a sink: event topics without namespace
}

// Plant is a plant directory, read and checked.
type Plant struct {
	Dir     string
	File    File
	Sources []Endpoint
	Sinks   []Endpoint
	Maps    *mapping.Set
}

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// eventTopics are the topics that a sink can take events from.
var eventTopics = []string{"event.production.v1", "event.quality.v1", "event.equipment.v1", "event.material.v1", "event.energy.v1"}

// Load reads the plant directory with everything in it; all faults of all files are in faults.
// The Plant is complete only when faults has no error.
func Load(dir string, kinds []pipeline.Kind, faults *conf.Faults) *Plant {
	p := &Plant{Dir: dir, File: File{
		Namespace: "plantloom", StateDir: "var", Kafka: Kafka{Listen: "127.0.0.1:9492", Fsync: true},
		API: API{HTTP: "127.0.0.1:8480", GRPC: "127.0.0.1:8481"}, Lateness: 2 * time.Second,
	}}
	f := conf.ParseFile(filepath.Join(dir, "plant.yaml"), faults)
	conf.Decode(f.Root, &p.File, faults)
	p.check(f, faults)
	for _, name := range sortedNames(p.File.Sources) {
		if e, ok := p.endpoint(name, p.File.Sources[name], kinds, "source", faults); ok {
			p.Sources = append(p.Sources, e)
		}
	}
	p.checkTags(faults)
	for _, name := range sortedNames(p.File.Sinks) {
		if e, ok := p.endpoint(name, p.File.Sinks[name], kinds, "sink", faults); ok {
			p.Sinks = append(p.Sinks, e)
		}
	}
	p.Maps = mapping.Load(namedFS{os.DirFS(dir), dir}, p.tags(), faults)
	return p
}

// namedFS is a directory whose name the faults of its files begin with.
type namedFS struct {
	fs.FS
	dir string
}

// Dir returns the directory's name.
func (n namedFS) Dir() string { return n.dir }

func (p *Plant) check(f *conf.File, faults *conf.Faults) {
	root := f.Root
	if v := root.Field("plant"); v.Exists() && p.File.Plant != "v1" {
		faults.Add(v.ValuePos(), conf.CodeUnknownValue, "plant: "+p.File.Plant+" is not a version of this format", conf.Near("v1"), conf.Hint("this plantloom reads plant: v1"))
	}
	if !nameForm.MatchString(p.File.Namespace) {
		faults.Add(root.Field("namespace").ValuePos(), conf.CodeWrongType, "the namespace "+p.File.Namespace+" cannot begin a topic name", conf.Hint("use up to 32 of a-z, 0-9, - and _"))
	}
	k := root.Field("kafka")
	if p.File.Kafka.Embedded == (len(p.File.Kafka.Brokers) > 0) && !k.Broken() {
		faults.Add(k.Pos(), conf.CodeMissingKey, "kafka needs either embedded: true or brokers", conf.Hint("embedded: true for one box, brokers: [host:9092] for a cluster"))
	}
	if p.File.Kafka.Partitions == 0 {
		p.File.Kafka.Partitions = 12
		if p.File.Kafka.Embedded {
			p.File.Kafka.Partitions = 4
		}
	}
	if p.File.Kafka.Partitions < 0 || p.File.Kafka.Partitions > 1000 {
		faults.Add(k.Field("partitions").ValuePos(), conf.CodeOutOfRange, "partitions must be between 1 and 1000")
	}
	if !filepath.IsAbs(p.File.StateDir) {
		p.File.StateDir = filepath.Join(p.Dir, p.File.StateDir)
	}
}

func (p *Plant) endpoint(name string, n *conf.Node, kinds []pipeline.Kind, role string, faults *conf.Faults) (Endpoint, bool) {
	e := Endpoint{Name: name}
	if !nameForm.MatchString(name) {
		faults.Add(n.Pos(), conf.CodeWrongType, "the name "+name+" cannot be part of a topic name", conf.Hint("use up to 32 of a-z, 0-9, - and _"))
	}
	kind := n.Field("kind")
	if !kind.Exists() {
		faults.Add(n.Pos(), conf.CodeMissingKey, role+" "+name+" has no kind", conf.Hint("kinds of %ss: %s", role, strings.Join(kindNames(kinds, role), ", ")))
		return e, false
	}
	found := false
	for _, k := range kinds {
		if k.Name() == kind.Text() && (role == "source" && k.HasSource() || role == "sink" && k.HasSink()) {
			e.Kind, found = k, true
		}
	}
	if !found {
		names := kindNames(kinds, role)
		faults.Add(kind.ValuePos(), conf.CodeUnknownValue, "no kind of "+role+" is called \""+kind.Text()+"\"",
			conf.Near(conf.Nearest(kind.Text(), names)), conf.Hint("kinds of %ss: %s", role, strings.Join(names, ", ")))
		return e, false
	}
	e.Config = e.Kind.Config()
	if role == "source" {
		conf.Decode(n.Without("kind", "tags"), e.Config, faults)
		if t := n.Field("tags"); t.Exists() {
			e.Tags = readTags(p.Dir, t, faults)
		}
		return e, true
	}
	conf.Decode(n.Without("kind", "events"), e.Config, faults)
	e.Events = p.sinkEvents(n.Field("events"), faults)
	return e, true
}

func (p *Plant) sinkEvents(n *conf.Node, faults *conf.Faults) []string {
	if !n.Exists() {
		return []string{"event.production.v1", "event.quality.v1"}
	}
	var events []string
	conf.Decode(n, &events, faults)
	items := n.Items()
	for i, e := range events {
		known := false
		for _, t := range eventTopics {
			known = known || t == e
		}
		if !known && i < len(items) {
			faults.Add(items[i].ValuePos(), conf.CodeUnknownValue, "\""+e+"\" is not a topic of events", conf.Near(conf.Nearest(e, eventTopics)), conf.Hint("topics: %s", strings.Join(eventTopics, ", ")))
		}
	}
	return events
}

func kindNames(kinds []pipeline.Kind, role string) []string {
	var names []string
	for _, k := range kinds {
		if role == "source" && k.HasSource() || role == "sink" && k.HasSink() {
			names = append(names, k.Name())
		}
	}
	sort.Strings(names)
	return names
}

func sortedNames(m map[string]*conf.Node) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}
