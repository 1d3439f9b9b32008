// Package connectors is the one list of every kind of connector. A new connector is one folder and one line here;
// there is no registration. It holds nothing else, and only cmd/plantloom and tests import it.
package connectors

import (
	"github.com/plantloom/plantloom/connectors/http"
	"github.com/plantloom/plantloom/connectors/opcua"
	"github.com/plantloom/plantloom/connectors/sqlhistorian"
	"github.com/plantloom/plantloom/pipeline"
)

// All returns every kind, sorted by name.
func All() []pipeline.Kind {
	return []pipeline.Kind{
		http.Kind(),
		opcua.Kind(),
		sqlhistorian.Kind(),
	}
}
