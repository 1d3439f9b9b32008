package plant

import (
	"time"

	"github.com/plantloom/plantloom/examples/demo/plant/internal/line"
)

// Status is what the plant prints now and then.
type Status struct {
	Demo        string       `json:"demo"` // always "plant"
	At          time.Time    `json:"at"`
	UptimeS     int          `json:"uptime_s"`
	Connections int          `json:"opcua_connections"`
	Lines       []LineStatus `json:"lines"`
	// Behind is how long the oldest row waits for the historian, in seconds.
	Behind float64 `json:"historian_behind_s"`
}

// LineStatus is the status of one line.
type LineStatus struct {
	Line     string `json:"line"`
	State    string `json:"state"`
	Order    string `json:"order"`
	Good     uint32 `json:"good"`
	Scrap    uint32 `json:"scrap"`
	Done     bool   `json:"done"`
	Next     string `json:"next,omitempty"`
	Produced int    `json:"produced"`
}

// Status returns the present status. It belongs to the loop's goroutine, or to
// the caller of Open before Run.
func (p *Plant) Status() Status {
	now := p.cfg.Now().UTC()
	st := Status{Demo: "plant", At: now, UptimeS: int(now.Sub(p.began).Seconds()), Connections: p.srv.Stats().Connections}
	for _, u := range p.units {
		s := u.line.State()
		ls := LineStatus{
			Line: u.line.Name(), State: line.StateName(s.Phase), Good: s.OrderGood, Scrap: s.OrderScrap,
			Done: s.Done, Produced: len(u.line.Produced()),
		}
		if s.Current != nil {
			ls.Order = s.Current.No
		}
		if s.Next != nil {
			ls.Next = s.Next.No
		}
		st.Lines = append(st.Lines, ls)
	}
	if p.hist != nil {
		if oldest, waiting := p.hist.Oldest(); waiting {
			st.Behind = now.Sub(oldest).Seconds()
		}
	}
	return st
}
