package mapping

import (
	"maps"
	"slices"
)

// WorkCenters returns the work centres that have a machine, sorted.
func (s *Set) WorkCenters() []string { return slices.Sorted(maps.Keys(s.routes)) }
