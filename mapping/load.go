package mapping

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/mapping/engine"
	"github.com/plantloom/plantloom/pipeline"
)

// Set is every mapping of a plant directory, checked, compiled and bound to its machines.
type Set struct {
	// Digest names the contents of Files: equal digests, equal behaviour (R14).
	Digest string
	// Files are the sources that the set was made of, sorted by name, with the tags that it is bound to. Load makes an
	// equal set of them, without tag lists.
	Files []*inboxv1.MappingFile
	// Mappings are the mapping files, sorted by name.
	Mappings []*Mapping
	// Bound are the machines with their programs, in the order of plant files by name and of machine tables by row.
	// It is empty while there are faults.
	Bound []engine.Bound

	routes  map[string]string   // work centre -> asset
	sources map[string][]string // asset -> ids of the sources that feed it, sorted
}

// Route returns the asset of a work centre, by the columns work_center and asset of the machine tables.
func (s *Set) Route(workCenter string) (asset string, ok bool) {
	asset, ok = s.routes[workCenter]
	return asset, ok
}

// SourcesOf returns the ids of the sources whose tags the asset's mappings read, sorted: those whose watermarks bound
// the asset's time (R10).
func (s *Set) SourcesOf(asset string) []string { return slices.Clone(s.sources[asset]) }

// Assets returns the assets that have a machine, sorted.
func (s *Set) Assets() []string {
	assets := make([]string, 0, len(s.sources))
	for asset := range s.sources {
		assets = append(assets, asset)
	}
	slices.Sort(assets)
	return assets
}

// Load reads the *.map.yaml and *.plant.yaml files of a plant directory, or of a MappingSet of the log, with the tables
// that they name, and compiles them. tags holds every source's tag list by source id; nil leaves tag addresses
// unchecked. A MappingSet carries the tags that it was bound to, and they count instead of tags: what the log says does
// not change with the configuration (R14). Where fsys has a method Dir() string, faults show that directory in front of
// the files' names. All faults of all files are recorded; the set is never nil, and fit to run only when faults holds no
// errors.
func Load(fsys fs.FS, tags map[string][]pipeline.Tag, faults *conf.Faults) *Set {
	dir := ""
	if named, ok := fsys.(interface{ Dir() string }); ok {
		dir = named.Dir()
	}
	l := newLoader(fsys, dir, faults)
	if locked := l.lockedTags(); locked != nil {
		tags = locked
	}
	return l.set(tags)
}

// LintPath checks what stands at path: one mapping file by itself (form, formulas, types), or a directory with all its
// mapping and plant files and the tag lists that its plant.yaml names. tags, if not nil, replaces those lists.
func LintPath(name string, tags map[string][]pipeline.Tag, faults *conf.Faults) *Set {
	info, err := os.Stat(name)
	if err != nil {
		faults.Add(conf.Pos{File: name}, conf.CodeUnreadable, err.Error(), conf.Hint("check the path"))
		return &Set{}
	}
	if info.IsDir() {
		return Lint(os.DirFS(name), name, tags, faults)
	}
	l := newLoader(os.DirFS(filepath.Dir(name)), filepath.Dir(name), faults)
	if !strings.HasSuffix(name, mapSuffix) {
		faults.Add(conf.Pos{File: name}, CodeNothingHere, "the file's name does not end in "+mapSuffix)
		return &Set{}
	}
	base := filepath.Base(name)
	text, err := fs.ReadFile(l.fsys, base)
	if err != nil {
		faults.Add(conf.Pos{File: name}, conf.CodeUnreadable, err.Error())
		return &Set{}
	}
	return &Set{Mappings: []*Mapping{l.parseMapping(base, text)}}
}

// Lint checks a plant directory; dir is what faults show in front of its files' names.
func Lint(fsys fs.FS, dir string, tags map[string][]pipeline.Tag, faults *conf.Faults) *Set {
	l := newLoader(fsys, dir, faults)
	if tags == nil {
		tags = l.plantTags()
	}
	s := l.set(tags)
	if len(s.Mappings) == 0 {
		faults.Add(conf.Pos{File: dir}, CodeNothingHere, "there is no *"+mapSuffix+" file in this directory")
	}
	return s
}

// Expand resolves paths as the command line gives them: dir/... stands for dir and every directory below it that holds a
// mapping file, but for those named testdata and those that begin with a dot.
func Expand(paths []string) (out []string, err error) {
	for _, p := range paths {
		root, ok := strings.CutSuffix(filepath.ToSlash(p), "/...")
		if !ok {
			out = append(out, p)
			continue
		}
		found := 0
		err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && name != root && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")) {
				return fs.SkipDir
			}
			if err != nil || d.IsDir() || !strings.HasSuffix(name, mapSuffix) {
				return err
			}
			if dir := filepath.Dir(name); !slices.Contains(out, dir) {
				out = append(out, dir)
			}
			found++
			return nil
		})
		if err == nil && found == 0 {
			err = errors.New("no *" + mapSuffix + " file in it")
		}
		if err != nil {
			return nil, fmt.Errorf("expanding %s: %w", p, err)
		}
	}
	return out, nil
}

// loader reads the files of one directory.
type loader struct {
	fsys   fs.FS
	dir    string // in front of names in faults
	faults *conf.Faults
	used   map[string][]byte // what was read, by name
	names  []string          // of the directory
}

func newLoader(fsys fs.FS, dir string, faults *conf.Faults) *loader {
	l := &loader{fsys: fsys, dir: dir, faults: faults, used: map[string][]byte{}}
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		faults.Add(conf.Pos{File: dir}, conf.CodeUnreadable, err.Error())
	}
	for _, e := range entries {
		if !e.IsDir() {
			l.names = append(l.names, e.Name())
		}
	}
	slices.Sort(l.names)
	return l
}

// shown is a file's name as faults show it.
func (l *loader) shown(name string) string {
	if l.dir == "" {
		return name
	}
	return path.Join(filepath.ToSlash(l.dir), name)
}

// list returns the directory's files whose names end in suffix, sorted.
func (l *loader) list(suffix string) (out []string) {
	for _, name := range l.names {
		if strings.HasSuffix(name, suffix) {
			out = append(out, name)
		}
	}
	return out
}

// read returns a file's text and remembers it for the digest.
func (l *loader) read(name string) ([]byte, bool) {
	if text, ok := l.used[name]; ok {
		return text, true
	}
	text, err := fs.ReadFile(l.fsys, name)
	if err != nil {
		return nil, false
	}
	l.used[name] = text
	return text, true
}

func (l *loader) set(tags map[string][]pipeline.Tag) *Set {
	s := &Set{routes: map[string]string{}, sources: map[string][]string{}}
	byFile := map[string]*Mapping{}
	for _, name := range l.list(mapSuffix) {
		if text, ok := l.read(name); ok {
			m := l.parseMapping(name, text)
			s.Mappings = append(s.Mappings, m)
			byFile[name] = m
		}
	}
	b := &binder{load: l, set: s, mappings: byFile, tags: indexTags(tags), used: map[string]tagRef{}}
	b.plants()
	if tags != nil {
		l.used[lockFile] = lock(b.used)
	}
	s.Files = l.files()
	s.Digest = digest(s.Files)
	return s
}

func (l *loader) files() (out []*inboxv1.MappingFile) {
	for name, content := range l.used {
		out = append(out, &inboxv1.MappingFile{Name: name, Content: content})
	}
	slices.SortFunc(out, func(a, b *inboxv1.MappingFile) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// digest is the SHA-256 of names and contents, each with its length in front.
func digest(files []*inboxv1.MappingFile) string {
	h := sha256.New()
	for _, f := range files {
		for _, x := range [][]byte{[]byte(f.GetName()), f.GetContent()} {
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(x))))
			h.Write(x)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
