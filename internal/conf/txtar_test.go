package conf

import (
	"bytes"
	"strings"
)

// section is one file of a txtar archive: "-- name --" and the lines below it.
type section struct {
	name string
	data []byte
}

// splitTxtar returns the comment in front and the files of an archive.
func splitTxtar(text []byte) (comment string, files []section) {
	for line := range bytes.Lines(text) {
		trimmed := strings.TrimSuffix(string(line), "\n")
		if name, ok := strings.CutPrefix(trimmed, "-- "); ok {
			if name, ok = strings.CutSuffix(name, " --"); ok {
				files = append(files, section{name: name})
				continue
			}
		}
		if len(files) == 0 {
			comment += string(line)
			continue
		}
		last := &files[len(files)-1]
		last.data = append(last.data, line...)
	}
	return comment, files
}

func joinTxtar(comment string, files []section) []byte {
	var b bytes.Buffer
	b.WriteString(comment)
	for _, f := range files {
		b.WriteString("-- " + f.name + " --\n")
		b.Write(f.data)
	}
	return b.Bytes()
}
