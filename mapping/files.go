package mapping

import (
	"bytes"
	"encoding/csv"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"time"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/internal/conf"
	plantcsv "github.com/plantloom/plantloom/internal/conf/csv"
	"github.com/plantloom/plantloom/pipeline"
)

// lockFile lists the tags that a set is bound to, so that a MappingSet in the log explains itself (R14).
const lockFile = "tags.lock"

func lock(used map[string]tagRef) []byte {
	ids := make([]string, 0, len(used))
	for id := range used {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	rows := [][]string{{"tag", "source", "asset", "type", "unit", "write"}}
	for _, id := range ids {
		x := used[id]
		rows = append(rows, []string{id, x.source, x.tag.Asset, x.tag.Type, x.tag.Unit, strconv.FormatBool(x.tag.Writable)})
	}
	if err := w.WriteAll(rows); err != nil {
		panic("mapping: writing to memory: " + err.Error()) // a bytes.Buffer never fails
	}
	return b.Bytes()
}

// lockedTags reads the tags of a MappingSet; nil when it has none.
func (l *loader) lockedTags() map[string][]pipeline.Tag {
	text, err := fs.ReadFile(l.fsys, lockFile)
	if err != nil {
		return nil
	}
	t := plantcsv.Read(l.shown(lockFile), text, plantcsv.Options{Extra: true, Columns: []plantcsv.Column{
		{Name: "tag", Required: true, Unique: true}, {Name: "source", Required: true},
	}}, l.faults)
	out := map[string][]pipeline.Tag{}
	for _, row := range t.Rows {
		x := pipeline.Tag{ID: row.Text("tag"), Asset: row.Text("asset"), Type: row.Text("type"), Unit: row.Text("unit")}
		x.Writable, _ = row.Bool("write", l.faults)
		out[row.Text("source")] = append(out[row.Text("source")], x)
	}
	return out
}

// FromFiles is the plant directory of a MappingSet. It shares the files' contents.
func FromFiles(files []*inboxv1.MappingFile) fs.FS {
	out := make(memory, len(files))
	for _, f := range files {
		out[f.GetName()] = f.GetContent()
	}
	return out
}

// memory is a directory without sub-directories.
type memory map[string][]byte

var (
	_ fs.ReadDirFS  = memory(nil)
	_ fs.ReadFileFS = memory(nil)
)

func (m memory) ReadFile(name string) ([]byte, error) {
	content, ok := m[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return content, nil
}

func (m memory) Open(name string) (fs.File, error) {
	content, err := m.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return &openFile{Reader: bytes.NewReader(content), info: info{name, int64(len(content))}}, nil
}

func (m memory) ReadDir(name string) ([]fs.DirEntry, error) {
	if name != "." {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	var out []fs.DirEntry
	for name, content := range m {
		out = append(out, fs.FileInfoToDirEntry(info{name, int64(len(content))}))
	}
	slices.SortFunc(out, func(a, b fs.DirEntry) int { return bytes.Compare([]byte(a.Name()), []byte(b.Name())) })
	return out, nil
}

type openFile struct {
	io.Reader
	info info
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

type info struct {
	name string
	size int64
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return 0o444 }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return false }
func (i info) Sys() any           { return nil }

var _ conf.Decoder = (*rate)(nil)
