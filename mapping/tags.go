package mapping

import (
	"io/fs"
	"path"
	"slices"

	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/internal/conf/csv"
	"github.com/plantloom/plantloom/pipeline"
)

// ReadTags reads a source's tag list: tag, address, asset, type, unit, write. shown is the path that faults show.
func ReadTags(shown string, text []byte, faults *conf.Faults) []pipeline.Tag {
	t := csv.Read(shown, text, csv.Options{Columns: []csv.Column{
		{Name: "tag", Required: true, Unique: true}, {Name: "address", Required: true}, {Name: "asset", Required: true},
		{Name: "type"}, {Name: "unit"}, {Name: "write"},
	}}, faults)
	tags := make([]pipeline.Tag, 0, len(t.Rows))
	for _, row := range t.Rows {
		x := pipeline.Tag{ID: row.Text("tag"), Address: row.Text("address"), Asset: row.Text("asset"), Unit: row.Text("unit")}
		x.Type, _ = row.Enum("type", inputType("").Values(), faults)
		x.Writable, _ = row.Bool("write", faults)
		tags = append(tags, x)
	}
	return tags
}

// plantTags reads the tag lists that plant.yaml names. It judges nothing else of that file. The result is nil when
// there is no plant.yaml.
func (l *loader) plantTags() map[string][]pipeline.Tag {
	const name = "plant.yaml"
	text, err := fs.ReadFile(l.fsys, name)
	if err != nil {
		return nil
	}
	var unheard conf.Faults // the plant's own check reports what is wrong with this file
	file := conf.Parse(l.shown(name), text, &unheard)
	out := map[string][]pipeline.Tag{}
	sources := file.Root.Field("sources")
	for _, id := range sources.Keys() {
		list := sources.Field(id).Field("tags")
		if list.Kind() != conf.Scalar {
			continue
		}
		l.faults.Register(l.shown(name), text)
		if text, err := fs.ReadFile(l.fsys, path.Clean(list.Text())); err == nil {
			out[id] = ReadTags(l.shown(list.Text()), text, l.faults)
		} else {
			l.faults.Add(list.ValuePos(), CodeMissingFile, "there is no file "+quoted(list.Text()), conf.Near(conf.Nearest(list.Text(), l.list(".csv"))))
		}
	}
	return out
}

// tagRef is a tag and the source that has it.
type tagRef struct {
	source string
	tag    pipeline.Tag
}

// tagIndex finds tags by id.
type tagIndex struct {
	known bool // false: no tag lists, nothing to check against
	byID  map[string]tagRef
	ids   []string
}

func indexTags(tags map[string][]pipeline.Tag) *tagIndex {
	x := &tagIndex{known: tags != nil, byID: map[string]tagRef{}}
	sources := make([]string, 0, len(tags))
	for source := range tags {
		sources = append(sources, source)
	}
	slices.Sort(sources)
	for _, source := range sources {
		for _, tag := range tags[source] {
			if _, twice := x.byID[tag.ID]; twice {
				continue // tag ids are plant-wide; the check of the plant's sources reports it
			}
			x.byID[tag.ID] = tagRef{source: source, tag: tag}
			x.ids = append(x.ids, tag.ID)
		}
	}
	return x
}
