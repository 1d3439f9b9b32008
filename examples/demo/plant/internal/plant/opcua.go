package plant

import (
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/examples/demo/plant/internal/historian"
	"github.com/plantloom/plantloom/examples/demo/plant/internal/line"
	"github.com/plantloom/plantloom/internal/uaserver"
)

// perVariable bounds the values of one variable in memory: the fastest change
// twice a second, so it reaches further back than the default History.
const perVariable = 25_000

// maxText bounds what a client may write into a string, in bytes.
const maxText = 256

// history is the history store: filled from the journal first, then by the
// server as values appear.
type history struct {
	uaserver.MemoryHistory
	live bool // set once, before the server starts
}

func newHistory() *history {
	return &history{MemoryHistory: uaserver.MemoryHistory{PerVariable: perVariable}}
}

// Append implements uaserver.HistoryStore. The first values that the server
// announces were loaded from the journal already.
func (h *history) Append(name string, v *ua.DataValue) {
	if h.live {
		h.MemoryHistory.Append(name, v)
	}
}

// load adds a value from the journal.
func (h *history) load(c line.Change) {
	v := &ua.DataValue{Value: &ua.Variant{}, Status: ua.StatusCode(c.Status), SourceTimestamp: c.At, ServerTimestamp: c.At}
	if c.Value != nil {
		v.Value = ua.MustVariant(c.Value)
	}
	v.UpdateMask()
	if c.Value == nil {
		v.EncodingMask &^= ua.DataValueValue
	}
	h.MemoryHistory.Append(c.Tag, v)
}

// prepareServer makes the server with all variables as they stand.
func (p *Plant) prepareServer() error {
	srv, err := uaserver.New(uaserver.Options{
		Addr: p.cfg.Listen, NamespaceURI: NamespaceURI, Now: p.cfg.Now, Log: p.log,
		History: p.store, OnWrite: p.onWrite, Lean: !p.cfg.LibraryNodes,
	})
	if err != nil {
		return err
	}
	p.srv = srv
	for _, u := range p.units {
		if u.line.Name() == historianName {
			continue
		}
		for _, d := range line.Defs(u.line.Name()) {
			c := p.tags[d.Name]
			v := srv.Add(d.Name, uaserver.Variable{
				Value: d.Zero, At: c.At, Writable: d.Writable, Historize: true, Description: d.Description,
			})
			v.Set(c.Value, ua.StatusCode(c.Status), c.At)
			p.vars[d.Name] = v
		}
	}
	p.store.live = true
	return nil
}

// show makes committed changes visible. All changes of a commit appear
// together and in order.
func (p *Plant) show(changes []line.Change) {
	var rows []historian.Row
	p.srv.Update(func(tx *uaserver.Tx) {
		for _, c := range changes {
			if v := p.vars[c.Tag]; v != nil {
				tx.Set(v, c.Value, ua.StatusCode(c.Status), c.At)
			} else if path := historianPath(c.Tag); path != "" {
				rows = append(rows, historian.Row{Path: path, Value: historianValue(c.Value), At: c.At})
			}
		}
	})
	if p.hist != nil {
		p.hist.Put(rows...)
	}
}

// writeRequest is a client's Write on its way to the loop.
type writeRequest struct {
	writes  []uaserver.Write
	results chan []ua.StatusCode
}

// onWrite runs on a connection's goroutine and waits until the loop has made
// the values durable.
func (p *Plant) onWrite(writes []uaserver.Write) []ua.StatusCode {
	results := make([]ua.StatusCode, len(writes))
	req := writeRequest{writes: writes, results: make(chan []ua.StatusCode, 1)}
	select {
	case p.writes <- req:
	case <-p.over:
		for i := range results {
			results[i] = ua.StatusBadShutdown
		}
		return results
	}
	select {
	case results = <-req.results:
	case <-p.over:
		// The loop ended on an error while it held the request.
		for i := range results {
			results[i] = ua.StatusBadShutdown
		}
	}
	return results
}

// write gives the values to the lines and answers when they are committed.
func (p *Plant) write(req writeRequest) error {
	now := p.cfg.Now()
	results := make([]ua.StatusCode, len(req.writes))
	for i, w := range req.writes {
		results[i] = p.writeOne(w, now)
	}
	if err := p.commit(); err != nil {
		return err
	}
	req.results <- results
	return nil
}

func (p *Plant) writeOne(w uaserver.Write, now time.Time) ua.StatusCode {
	switch v := w.Value.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return ua.StatusBadOutOfRange
		}
	case string:
		if len(v) > maxText || !utf8.ValidString(v) {
			return ua.StatusBadOutOfRange
		}
	}
	name, _, _ := strings.Cut(w.Var.Name(), ".")
	for _, u := range p.units {
		if u.line.Name() == name && u.line.Write(w.Var.Name(), w.Value, now) {
			return ua.StatusOK
		}
	}
	return ua.StatusBadNotWritable
}
