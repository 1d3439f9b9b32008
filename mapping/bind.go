package mapping

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/internal/conf/csv"
	"github.com/plantloom/plantloom/mapping/engine"
	"github.com/plantloom/plantloom/pipeline"
)

const plantSuffix = ".plant.yaml"

type plantShape struct {
	Use      *conf.Node `conf:"use,required"`
	Machines *conf.Node `conf:"machines,required"`
}

func (plantShape) LaterKeys() map[string]string { return laterOfPlant() }

// binder stamps mappings out over the machine tables.
type binder struct {
	load     *loader
	set      *Set
	mappings map[string]*Mapping
	tags     *tagIndex
	used     map[string]tagRef
	stamped  []stamp
}

// stamp is one machine of one mapping, with its row.
type stamp struct {
	mapping *Mapping
	machine engine.Machine
	row     csv.Row
}

func (b *binder) fault(at conf.Pos, code, message string, options ...conf.Option) {
	b.load.faults.Add(at, code, message, options...)
}

// plants reads every plant file and binds its machines.
func (b *binder) plants() {
	for _, name := range b.load.list(plantSuffix) {
		text, ok := b.load.read(name)
		if !ok {
			continue
		}
		file := conf.Parse(b.load.shown(name), text, b.load.faults)
		var shape plantShape
		conf.Decode(file.Root, &shape, b.load.faults)
		b.plant(&shape)
	}
	b.resolve()
	if b.load.faults.HasErrors() {
		return
	}
	b.idle()
	for i := range b.stamped {
		s := &b.stamped[i]
		s.machine.Sources = b.set.SourcesOf(s.machine.Asset)
		b.set.Bound = append(b.set.Bound, engine.Bound{Program: s.mapping.Program, Machine: s.machine})
	}
}

// idle warns of mappings that run for no machine, where others do.
func (b *binder) idle() {
	if len(b.load.list(plantSuffix)) == 0 {
		return
	}
	for _, m := range b.set.Mappings {
		if !m.used {
			b.fault(conf.Pos{File: m.File}, CodeNoMachine, "no plant file uses this mapping, so it does not run", conf.Warning(),
				conf.Hint("write a file such as hall.plant.yaml: use: %s, machines: ...", path.Base(m.File)))
		}
	}
}

func (b *binder) plant(shape *plantShape) {
	m := b.mappings[shape.Use.Text()]
	if m == nil && shape.Use.Exists() && !shape.Use.Broken() {
		var use string
		conf.Decode(shape.Use, &use, b.load.faults)
		if use != "" {
			b.fault(shape.Use.ValuePos(), CodeMissingFile, fmt.Sprintf("there is no mapping file %q", use),
				conf.Near(conf.Nearest(use, b.load.list(mapSuffix))))
		}
	}
	if m != nil {
		m.used = true
	}
	if shape.Machines.Kind() != conf.Scalar || shape.Machines.Broken() {
		var list string
		conf.Decode(shape.Machines, &list, b.load.faults)
		return
	}
	text, ok := b.load.named(shape.Machines, ".csv")
	if !ok || m == nil {
		return
	}
	b.machines(m, shape.Machines.Text(), text)
}

// machines reads a machine table: name, asset and the columns of the mapping. Further columns are another mapping's.
func (b *binder) machines(m *Mapping, name string, text []byte) {
	options := csv.Options{Extra: true, Columns: []csv.Column{{Name: "name", Required: true, Unique: true}, {Name: "asset", Required: true}}}
	for _, c := range m.Spec.Columns {
		if c.Name.Text != "name" && c.Name.Text != "asset" {
			options.Columns = append(options.Columns, csv.Column{Name: c.Name.Text, Required: true})
		}
	}
	t := csv.Read(b.load.shown(name), text, options, b.load.faults)
	for _, c := range options.Columns {
		if !t.Has(c.Name) {
			return
		}
	}
	seen := map[string]bool{}
	for _, row := range t.Rows {
		if seen[row.Text("name")] || row.Text("name") == "" || row.Text("asset") == "" {
			continue // reported by the reader
		}
		seen[row.Text("name")] = true
		b.machine(m, row)
	}
}

func (b *binder) machine(m *Mapping, row csv.Row) {
	name, asset := row.Text("name"), row.Text("asset")
	for _, s := range b.stamped {
		if s.mapping == m && s.machine.Name == name {
			b.fault(row.Cell("name").Pos, CodeDuplicateName, fmt.Sprintf("%s already has a machine %q", m.File, name),
				conf.Hint("the first is at %s", s.row.Pos()))
			return
		}
	}
	if strings.HasPrefix(asset, "/") || strings.HasSuffix(asset, "/") || strings.Contains(asset, "//") {
		b.fault(row.Cell("asset").Pos, conf.CodeWrongType, fmt.Sprintf("%q is not an asset path", asset), conf.Hint("write enterprise/site/area/work_center"))
		return
	}
	b.route(row, asset)
	columns := map[string]pipeline.Value{"name": pipeline.Text(name), "asset": pipeline.Text(asset)}
	for _, c := range m.Spec.Columns {
		columns[c.Name.Text] = cellValue(row, c, b.load.faults)
	}
	b.stamped = append(b.stamped, stamp{mapping: m, row: row, machine: engine.Machine{
		Name: name, Asset: asset, Columns: columns, Inputs: map[string]string{}, Outputs: map[string]engine.Target{},
	}})
	if _, ok := b.set.sources[asset]; !ok {
		b.set.sources[asset] = nil
	}
}

// route notes which asset a work centre's operations go to.
func (b *binder) route(row csv.Row, asset string) {
	center := row.Cell("work_center")
	if center.Text == "" {
		return
	}
	if was, ok := b.set.routes[center.Text]; ok && was != asset {
		b.fault(center.Pos, CodeTwoAssets, fmt.Sprintf("work centre %q is asset %q elsewhere, and %q here", center.Text, was, asset))
		return
	}
	b.set.routes[center.Text] = asset
}

func cellValue(row csv.Row, c engine.Column, faults *conf.Faults) pipeline.Value {
	switch c.Type {
	case "int":
		if v, ok := row.Int(c.Name.Text, faults); ok {
			return pipeline.Int(v)
		}
	case "float":
		if v, ok := row.Float(c.Name.Text, faults); ok {
			return pipeline.Double(v)
		}
	case "bool":
		if v, ok := row.Bool(c.Name.Text, faults); ok {
			return pipeline.Bool(v)
		}
	default:
		return pipeline.Text(row.Text(c.Name.Text))
	}
	return pipeline.Null()
}

// feed notes that a source feeds an asset.
func (b *binder) feed(asset, source string) {
	list := b.set.sources[asset]
	if at, found := slices.BinarySearch(list, source); !found {
		b.set.sources[asset] = slices.Insert(list, at, source)
	}
}
