package engine

import (
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
)

// lane is what positions count in.
type lane struct {
	source, session string
	fill            bool
}

type marker struct{ position, used uint64 }

// repeated says whether a sample came before, and remembers it: by its position within a session and lane, and by what
// it is across sessions. R7
func (a *asset) repeated(tb *inboxv1.TagBatch, s *pipeline.Sample, at int64) bool {
	if s.Position != 0 {
		l := lane{tb.GetSourceId(), tb.GetSession(), s.Flags&pipeline.FlagHistorical != 0}
		m := a.lanes[l]
		if m == nil {
			m = &marker{}
			a.lanes[l] = m
			a.forgetSession()
		}
		m.used = a.clock
		if s.Position <= m.position {
			return true
		}
		m.position = s.Position
	}
	return a.seen.add(s, at)
}

// forgetSession drops the mark that is unused for longest.
func (a *asset) forgetSession() {
	if len(a.lanes) <= maxSessions {
		return
	}
	var oldest lane
	first := true
	for l, m := range a.lanes {
		if o := a.lanes[oldest]; m.position != 0 && (first || m.used < o.used || (m.used == o.used && l.less(oldest))) {
			oldest, first = l, false
		}
	}
	delete(a.lanes, oldest)
}

func (l lane) less(o lane) bool {
	if l.source != o.source {
		return l.source < o.source
	}
	if l.session != o.session {
		return l.session < o.session
	}
	return !l.fill && o.fill
}
