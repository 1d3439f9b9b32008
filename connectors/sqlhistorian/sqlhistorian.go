// Package sqlhistorian is the connector for plants whose past is in an SQL tag
// history in Ignition's schema: a source that follows the history's end, reads a
// stretch before it again for rows that come late, and fills what it missed after
// an outage.
//
// It reads and never writes: the connection is read-only. It keeps no state on
// disk, since the cursor says where to go on, and reads no clock but the one it is
// given. It does not see what is edited, deleted or stored later than the overlap.
//
// It imports the vocabulary, internal/conf and the database drivers; only
// connectors imports it.
package sqlhistorian

import (
	"errors"
	"fmt"
	"strings"

	"github.com/plantloom/plantloom/pipeline"
)

// Name is what `kind:` says in a plant file.
const Name = "sqlhistorian"

// Kind returns the kind sqlhistorian, a source.
func Kind() pipeline.Kind {
	return pipeline.NewKind(Name, Defaults(), newSource, nil)
}

func newSource(c Config, h pipeline.Host) (pipeline.Source, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if len(h.Tags) == 0 {
		return nil, errors.New("a source of kind sqlhistorian needs tags: a list whose column address is the tag path")
	}
	addresses := make(map[string]string, len(h.Tags))
	for _, t := range h.Tags {
		if t.Writable {
			return nil, fmt.Errorf("tag %s is writable, and a history cannot be written", t.ID)
		}
		address := strings.ToLower(t.Address)
		if other, twice := addresses[address]; twice {
			return nil, fmt.Errorf("tags %s and %s have the same address %s", other, t.ID, t.Address)
		}
		addresses[address] = t.ID
	}
	open, err := c.opener(h.Dir)
	if err != nil {
		return nil, err
	}
	return &source{config: c, host: h, open: open}, nil
}
