package conf

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// mask is what every secret prints as.
const mask = "***"

// maxSecret bounds the file behind a secret: keys and certificates are far smaller.
const maxSecret = 64 << 10

const (
	envScheme  = "env:"
	fileScheme = "file:"
)

// Secret is a reference to a password, key or token: env:NAME or file:PATH. It
// never holds the secret itself and prints as *** in every way. The zero value
// refers to nothing.
type Secret struct {
	reference string // with an absolute or directory-joined path
}

// NewSecret makes a Secret of a reference; a relative path is joined to dir.
// The error never contains the text of the reference when it has no scheme,
// since that text is probably the secret itself.
func NewSecret(reference, dir string) (Secret, error) {
	if name, ok := strings.CutPrefix(reference, envScheme); ok {
		if name == "" || strings.ContainsAny(name, " =\t\x00") {
			return Secret{}, fmt.Errorf("%q is not the name of an environment variable", name)
		}
		return Secret{reference}, nil
	}
	if path, ok := strings.CutPrefix(reference, fileScheme); ok {
		if path == "" {
			return Secret{}, errors.New("file: needs a path")
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		return Secret{fileScheme + path}, nil
	}
	return Secret{}, errors.New("a secret is given by reference, as env:NAME or file:PATH")
}

func isReference(text string) bool {
	text = strings.TrimLeft(text, `"'`)
	return strings.HasPrefix(text, envScheme) || strings.HasPrefix(text, fileScheme)
}

// IsSet says whether the secret refers to anything.
func (s Secret) IsSet() bool { return s.reference != "" }

// Reveal reads the secret. It is read anew at each call, so that a rotated
// password needs no restart. A file's last line end is not part of the secret.
// The secret of a zero Secret is empty.
func (s Secret) Reveal() (string, error) {
	if name, ok := strings.CutPrefix(s.reference, envScheme); ok {
		value, set := os.LookupEnv(name)
		if !set {
			return "", fmt.Errorf("reading a secret: environment variable %s is not set", name)
		}
		return value, nil
	}
	path, ok := strings.CutPrefix(s.reference, fileScheme)
	if !ok {
		return "", nil
	}
	text, err := readLimited(path, maxSecret)
	if err != nil {
		return "", fmt.Errorf("reading a secret: %w", err)
	}
	if len(text) > maxSecret {
		return "", fmt.Errorf("reading a secret: %s is larger than %d bytes", path, maxSecret)
	}
	value := strings.TrimSuffix(string(text), "\n")
	return strings.TrimSuffix(value, "\r"), nil
}

// String returns ***.
func (s Secret) String() string { return mask }

// GoString returns ***.
func (s Secret) GoString() string { return mask }

// Format prints *** whatever the verb.
func (s Secret) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, mask) }

// MarshalText returns ***: for JSON, YAML and every other encoder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(mask), nil }

// LogValue returns ***.
func (s Secret) LogValue() slog.Value { return slog.StringValue(mask) }

// DecodeConf reads the reference. A literal value is a fault, and is kept out of
// everything that is drawn.
func (s *Secret) DecodeConf(n *Node, faults *Faults) {
	const hint = "write env:NAME or file:PATH (relative to this file), and put the secret there"
	if n.Kind() != Scalar {
		n.HideFrom(faults)
		wantKind(n, Scalar, faults)
		return
	}
	secret, err := NewSecret(n.Text(), n.File().Dir())
	if err == nil {
		*s = secret
		return
	}
	code := CodeSecret
	if !isReference(n.Text()) {
		code = CodeLiteralSecret
		n.HideFrom(faults)
	}
	faults.Add(n.ValuePos(), code, err.Error(), Hint(hint))
}

// HideFrom keeps the lines of the value from being drawn with any fault.
func (n *Node) HideFrom(faults *Faults) {
	if n == nil {
		return
	}
	faults.Hide(n.ValuePos())
	if n.Kind() == Scalar {
		last := n.ScalarPos(len(n.Text()) - 1).Line
		for line := n.ValuePos().Line + 1; line <= last; line++ {
			faults.Hide(Pos{File: n.ValuePos().File, Line: line, Column: 1})
		}
	}
	for _, child := range n.fields {
		child.HideFrom(faults)
	}
	for _, child := range n.items {
		child.HideFrom(faults)
	}
}
