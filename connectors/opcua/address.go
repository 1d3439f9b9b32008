package opcua

import (
	b64 "encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/gopcua/opcua/ua"
)

// address is a tag's node as the tag list writes it: nsu=URI;s=Name, or i=85 in the standard's own namespace.
type address struct {
	uri     string // namespace, empty when index counts
	index   uint16
	form    byte // i, s, g, b
	numeric uint32
	text    string
}

// guidForm is a GUID as the standard writes it.
var guidForm = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)

// parseAddress reads an address. ns=N other than 0 is refused unless allowIndex: servers renumber namespaces.
func parseAddress(s string, allowIndex bool) (address, error) {
	var a address
	rest := s
	if uri, ok := strings.CutPrefix(s, "nsu="); ok {
		var found bool
		if a.uri, rest, found = cutURI(uri); !found || a.uri == "" {
			return address{}, fmt.Errorf("address %q: after nsu= comes the namespace URI, then ;s=NAME or ;i=NUMBER", s)
		}
	} else if index, ok := strings.CutPrefix(s, "ns="); ok {
		number, after, _ := strings.Cut(index, ";")
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return address{}, fmt.Errorf("address %q: ns= wants a number", s)
		}
		if n != 0 && !allowIndex {
			return address{}, fmt.Errorf("address %q counts namespaces, and servers renumber them: write nsu=URI;%s with the namespace's URI, or set allow_ns_index: true", s, after)
		}
		a.index, rest = uint16(n), after
	}
	if err := a.identifier(rest); err != nil {
		return address{}, fmt.Errorf("address %q: %w", s, err)
	}
	return a, nil
}

// cutURI splits at the semicolon in front of the identifier. Semicolons within a URI are written %3B, percent signs %25.
func cutURI(s string) (uri, rest string, ok bool) {
	uri, rest, ok = strings.Cut(s, ";")
	if plain, err := url.PathUnescape(uri); err == nil && (strings.Contains(uri, "%3B") || strings.Contains(uri, "%25")) {
		uri = plain
	}
	return uri, rest, ok
}

func (a *address) identifier(s string) error {
	form, value, ok := strings.Cut(s, "=")
	if !ok || len(form) != 1 || value == "" {
		return errors.New("the identifier is missing: s=NAME, i=NUMBER, g=GUID or b=BASE64")
	}
	a.form, a.text = form[0], value
	switch a.form {
	case 'i':
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return fmt.Errorf("%q is not a number from 0 to 4294967295", value)
		}
		a.numeric = uint32(n)
	case 's':
	case 'g':
		if !guidForm.MatchString(value) {
			return fmt.Errorf("%q is not a GUID", value)
		}
	case 'b':
		if _, err := b64.StdEncoding.DecodeString(value); err != nil {
			return fmt.Errorf("%q is not base64", value)
		}
	default:
		return fmt.Errorf("%q= is not one of s=, i=, g=, b=", form)
	}
	return nil
}

// node returns the node id on a server with these namespaces; ok is false when it lacks the address's namespace.
func (a address) node(namespaces []string) (n *ua.NodeID, ok bool) {
	index := a.index
	if a.uri != "" {
		found := false
		for i, uri := range namespaces {
			if uri == a.uri && i <= 0xFFFF {
				index, found = uint16(i), true
				break
			}
		}
		if !found {
			return nil, false
		}
	}
	switch a.form {
	case 's':
		return ua.NewStringNodeID(index, a.text), true
	case 'g':
		return ua.NewGUIDNodeID(index, a.text), true
	case 'b':
		raw, _ := b64.StdEncoding.DecodeString(a.text) // checked when it was parsed
		return ua.NewByteStringNodeID(index, raw), true
	}
	return ua.NewNumericNodeID(index, a.numeric), true
}
