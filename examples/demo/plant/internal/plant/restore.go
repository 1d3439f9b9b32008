package plant

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/plantloom/plantloom/examples/demo/plant/internal/historian"
	"github.com/plantloom/plantloom/examples/demo/plant/internal/journal"
	"github.com/plantloom/plantloom/examples/demo/plant/internal/line"
)

// replayed is the state that the journal describes.
type replayed struct {
	lines    map[string]json.RawMessage
	produced map[string]map[string]bool
	entries  []line.Entry
}

// restore reads the journal, or begins it.
func (p *Plant) restore() error {
	configs := p.lineConfigs()
	for _, c := range configs {
		for _, d := range line.Defs(c.Name) {
			p.defs[d.Name] = d
		}
	}
	r := &replayed{lines: map[string]json.RawMessage{}, produced: map[string]map[string]bool{}}
	var err error
	p.jr, err = journal.Open(filepath.Join(p.cfg.Dir, "journal"), func(payload []byte, snapshot bool) error {
		var rec record
		if err := json.Unmarshal(payload, &rec); err != nil {
			return fmt.Errorf("decoding a record: %w", err)
		}
		return p.apply(r, rec, snapshot)
	})
	if err != nil {
		return err
	}
	now := p.cfg.Now()
	if p.jr.Size() == 0 {
		return p.begin(configs)
	}
	// After a crash the ledger may lack the newest entries.
	if err := p.ledger.append(r.entries); err != nil {
		return err
	}
	if p.ledger.last != p.seq {
		return fmt.Errorf("the ledger has %d entries, the journal says %d: remove the state directory %s to begin anew", p.ledger.last, p.seq, p.cfg.Dir)
	}
	for _, c := range configs {
		state, known := r.lines[c.Name]
		if !known {
			return fmt.Errorf("the state in %s has no line %s: keep the number of lines and the historian, or remove the directory", p.cfg.Dir, c.Name)
		}
		l, err := line.Restore(c, state, p.tags, slices.Collect(maps.Keys(r.produced[c.Name])))
		if err != nil {
			return err
		}
		l.Idled(now)
		p.units = append(p.units, &unit{line: l, every: p.scanEvery(c)})
	}
	p.began = now
	p.log.Info("DEMO plant goes on where it stopped", "stopped", p.at, "ledger_entries", p.seq)
	return nil
}

// begin starts a plant's life: the first segment is its first snapshot.
func (p *Plant) begin(configs []line.Config) error {
	if p.ledger.last != 0 {
		return fmt.Errorf("there is a ledger but no journal in %s: remove the directory to begin anew", p.cfg.Dir)
	}
	now := p.cfg.Now()
	p.at, p.began = now.UTC(), now
	var first []line.Change
	for _, c := range configs {
		l := line.New(c, now)
		p.units = append(p.units, &unit{line: l, every: p.scanEvery(c)})
		changes, _, _ := l.Take()
		for _, ch := range changes {
			p.tags[ch.Tag] = ch
		}
		first = append(first, changes...)
	}
	snapshot, err := p.snapshot()
	if err != nil {
		return err
	}
	if err := p.jr.Rotate(snapshot); err != nil {
		return err
	}
	// The tags begin with one value each: what New set last.
	for _, ch := range first {
		if p.tags[ch.Tag] == ch {
			p.remember(ch)
		}
	}
	return nil
}

// apply takes one record of the journal.
func (p *Plant) apply(r *replayed, rec record, snapshot bool) error {
	if snapshot {
		if p.seq > rec.LedgerSeq {
			return fmt.Errorf("%w: a snapshot goes back", journal.ErrDamaged)
		}
		p.seq = rec.LedgerSeq
		for name, orders := range rec.Produced {
			r.produced[name] = map[string]bool{}
			for _, no := range orders {
				r.produced[name][no] = true
			}
		}
	}
	p.at = rec.At
	maps.Copy(r.lines, rec.Lines)
	for _, t := range rec.Tags {
		if _, known := p.defs[t.Name]; !known {
			continue // of a line that this start leaves out; restore says so
		}
		c, err := decodeTag(t, p.defs)
		if err != nil {
			return err
		}
		if snapshot && p.tags[c.Tag] == c {
			continue // repeats what was said before
		}
		p.tags[c.Tag] = c
		p.remember(c)
	}
	for _, e := range rec.Ledger {
		if e.Seq != p.seq+1 {
			return fmt.Errorf("%w: ledger entry %d after %d", journal.ErrDamaged, e.Seq, p.seq)
		}
		p.seq = e.Seq
		if e.Event == line.OrderDone {
			if r.produced[e.Line] == nil {
				r.produced[e.Line] = map[string]bool{}
			}
			r.produced[e.Line][e.Order] = true
		}
		r.entries = append(r.entries, e)
	}
	return nil
}

// remember gives a value that is in the journal to history and historian.
func (p *Plant) remember(c line.Change) {
	if path := historianPath(c.Tag); path != "" {
		if p.hist != nil {
			p.hist.Put(historian.Row{Path: path, Value: historianValue(c.Value), At: c.At})
		}
		return
	}
	p.store.load(c)
}

// historianValue turns a tag's value into a column: text or whole number.
func historianValue(v any) any {
	switch x := v.(type) {
	case string:
		return x
	case bool:
		if x {
			return int64(1)
		}
		return int64(0)
	case uint16:
		return int64(x)
	case int32:
		return int64(x)
	}
	return v
}
