package run

import (
	"os"
	"path/filepath"

	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/mapping"
	"github.com/plantloom/plantloom/pipeline"
)

// readTags reads the tag list that a source names.
func readTags(dir string, n *conf.Node, faults *conf.Faults) []pipeline.Tag {
	name := n.Text()
	if n.Kind() != conf.Scalar || name == "" {
		faults.Add(n.Pos(), conf.CodeWrongKind, "tags must name a CSV file", conf.Hint("tags: tags.csv, with the columns tag, address, asset, type, unit, write"))
		return nil
	}
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, name)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		files, _ := filepath.Glob(filepath.Join(dir, "*.csv")) // the pattern is right
		for i := range files {
			files[i] = filepath.Base(files[i])
		}
		faults.Add(n.ValuePos(), conf.CodeUnreadable, "the tag list cannot be read: "+err.Error(), conf.Near(conf.Nearest(name, files)))
		return nil
	}
	return mapping.ReadTags(path, text, faults)
}

// checkTags reports tags that two sources have: a tag's id names it in the whole plant.
func (p *Plant) checkTags(faults *conf.Faults) {
	owner := map[string]string{}
	for _, e := range p.Sources {
		for _, t := range e.Tags {
			if first, twice := owner[t.ID]; twice && first != e.Name {
				faults.Add(p.File.Sources[e.Name].Field("tags").ValuePos(), conf.CodeDuplicateKey,
					"tag "+t.ID+" is in the lists of "+first+" and "+e.Name, conf.Hint("give one of them another name: a tag's id names it in the whole plant"))
			}
			owner[t.ID] = e.Name
		}
	}
}
