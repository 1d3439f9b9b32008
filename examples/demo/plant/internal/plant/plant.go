package plant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/plantloom/plantloom/examples/demo/plant/internal/historian"
	"github.com/plantloom/plantloom/examples/demo/plant/internal/journal"
	"github.com/plantloom/plantloom/examples/demo/plant/internal/line"
	"github.com/plantloom/plantloom/internal/uaserver"
)

// NamespaceURI is the namespace of the plant's OPC UA nodes.
const NamespaceURI = "urn:plantloom:demo:plant"

// LedgerFile is the name of the truth ledger in the state directory.
const LedgerFile = "ledger.jsonl"

// segmentSize is when the journal begins a new segment.
const segmentSize = 8 << 20

// maxLate is how long the plant may be late and still make up the scans that it
// missed.
const maxLate = 10 * time.Second

// unit is a line in the plant's loop.
type unit struct {
	line  *line.Line
	every time.Duration // between scans
	next  time.Time
}

// Plant is the running plant. Everything but the OPC UA server and the
// historian's writer runs on the goroutine of Run.
type Plant struct {
	cfg    Config
	log    *slog.Logger
	unlock func() error
	closed bool

	jr     *journal.Journal
	ledger *ledger
	hist   *historian.Writer // nil without L9
	srv    *uaserver.Server
	store  *history
	vars   map[string]*uaserver.Var

	units []*unit
	cycle time.Duration // between calls of scan
	defs  map[string]line.Def
	tags  map[string]line.Change
	began time.Time
	at    time.Time // of the newest record
	seq   uint64    // newest ledger entry

	writes chan writeRequest
	over   chan struct{} // closed when the loop has ended
}

// Open reads the state directory, brings ledger and history up to the journal
// and prepares the OPC UA server. The caller must call Close, or Start and Run.
func Open(cfg Config) (*Plant, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	p := &Plant{
		cfg: cfg, log: cfg.Log, defs: map[string]line.Def{}, tags: map[string]line.Change{},
		vars: map[string]*uaserver.Var{}, store: newHistory(), writes: make(chan writeRequest), over: make(chan struct{}),
	}
	if err := p.open(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *Plant) open() error {
	if err := os.MkdirAll(p.cfg.Dir, 0o755); err != nil {
		return fmt.Errorf("creating the state directory: %w", err)
	}
	var err error
	if p.unlock, err = lockDir(filepath.Join(p.cfg.Dir, "lock")); err != nil {
		return err
	}
	if p.cfg.Historian != "" {
		driver := p.cfg.HistorianDriver
		if driver == "" {
			driver = "sqlite"
		}
		if p.hist, err = historian.New(driver, p.cfg.Historian, p.log); err != nil {
			return err
		}
	}
	if p.ledger, err = openLedger(filepath.Join(p.cfg.Dir, LedgerFile)); err != nil {
		return err
	}
	if err := p.restore(); err != nil {
		return err
	}
	return p.prepareServer()
}

// lineConfigs lists the lines of this plant.
func (p *Plant) lineConfigs() []line.Config {
	var out []line.Config
	for i := range p.cfg.Lines {
		out = append(out, line.Config{Name: fmt.Sprintf("L%d", i+1), Seed: p.cfg.Seed, Speed: p.cfg.Speed})
	}
	if p.hist != nil {
		out = append(out, line.Config{Name: historianName, Seed: p.cfg.Seed, Speed: p.cfg.Speed, Paper: true})
	}
	return out
}

// scanEvery is the PLC's cycle, and the historian's second for L9.
func (p *Plant) scanEvery(c line.Config) time.Duration {
	d := 100 * time.Millisecond
	if c.Paper {
		d = time.Second
	}
	return max(time.Duration(float64(d)/p.cfg.Speed), 10*time.Millisecond)
}

// Addr returns the OPC UA endpoint URL after Run has started the server.
func (p *Plant) Addr() string { return p.srv.URL() }

// Start starts the OPC UA server.
func (p *Plant) Start(ctx context.Context) error { return p.srv.Start(ctx) }

// Run keeps the plant going until ctx ends, and closes it. Start comes first.
func (p *Plant) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	written := make(chan struct{})
	go func() {
		defer close(written)
		if p.hist != nil {
			p.hist.Run(ctx)
		}
	}()
	err := p.loop(ctx)
	cancel()
	<-written
	return errors.Join(err, p.Close())
}

// loop steps the lines and takes clients' writes, one at a time.
func (p *Plant) loop(ctx context.Context) error {
	defer close(p.over)
	p.cycle = time.Minute
	for _, u := range p.units {
		p.cycle = min(p.cycle, u.every)
	}
	scan := time.NewTicker(p.cycle)
	defer scan.Stop()
	status := time.NewTicker(time.Minute)
	defer status.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-scan.C:
			err = p.scan(p.cfg.Now())
		case w := <-p.writes:
			err = p.write(w)
		case <-status.C:
			err = p.report()
		}
		if err != nil {
			return err
		}
	}
}

// scan steps the lines whose turn it is and commits what they did. A tick that
// comes a little early counts for the turn it is nearest to. A PLC's scan is
// never late; when this machine was too busy, the missed scans are made up with
// their own times, so that values keep the distance that a line gives them.
func (p *Plant) scan(now time.Time) error {
	for _, u := range p.units {
		if now.Add(p.cycle / 2).Before(u.next) {
			continue
		}
		if late := now.Sub(u.next); !u.next.IsZero() && late < maxLate {
			for ; u.next.Add(u.every).Before(now); u.next = u.next.Add(u.every) {
				u.line.Step(u.next)
			}
		}
		u.line.Step(now)
		u.next = now.Add(p.cycle / 2).Truncate(u.every).Add(u.every)
	}
	return p.commit()
}

// commit makes what the lines did durable, and only then visible.
func (p *Plant) commit() error {
	rec := record{At: p.cfg.Now().UTC(), Lines: map[string]json.RawMessage{}}
	var changes []line.Change
	for _, u := range p.units {
		c, entries, state := u.line.Take()
		if len(c) == 0 && len(entries) == 0 {
			continue
		}
		rec.Lines[u.line.Name()] = state
		changes = append(changes, c...)
		for _, e := range entries {
			p.seq++
			e.Seq = p.seq
			rec.Ledger = append(rec.Ledger, e)
		}
	}
	if len(rec.Lines) == 0 {
		return nil
	}
	for _, c := range changes {
		t, err := encodeTag(c)
		if err != nil {
			return err
		}
		rec.Tags = append(rec.Tags, t)
		p.tags[c.Tag] = c
	}
	p.at = rec.At
	payload, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("encoding a record: %w", err)
	}
	if err := p.jr.Append(payload); err != nil {
		return err
	}
	if err := p.ledger.append(rec.Ledger); err != nil {
		return err
	}
	p.show(changes)
	if p.jr.Size() > segmentSize {
		return p.rotate()
	}
	return nil
}

// rotate begins a new segment and deletes those that nobody needs.
func (p *Plant) rotate() error {
	snapshot, err := p.snapshot()
	if err != nil {
		return err
	}
	if err := p.jr.Rotate(snapshot); err != nil {
		return err
	}
	keep := p.at.Add(-p.cfg.History)
	if p.hist != nil {
		if oldest, waiting := p.hist.Oldest(); waiting && oldest.Before(keep) {
			keep = oldest
		}
	}
	return p.jr.Prune(keep)
}

// snapshot encodes the whole state. Nothing may be pending in a line.
func (p *Plant) snapshot() ([]byte, error) {
	rec := record{At: p.at, Lines: map[string]json.RawMessage{}, LedgerSeq: p.seq, Produced: map[string][]string{}}
	for _, u := range p.units {
		_, _, state := u.line.Take()
		rec.Lines[u.line.Name()] = state
		rec.Produced[u.line.Name()] = u.line.Produced()
		for _, d := range line.Defs(u.line.Name()) {
			t, err := encodeTag(p.tags[d.Name])
			if err != nil {
				return nil, err
			}
			rec.Tags = append(rec.Tags, t)
		}
	}
	b, err := json.Marshal(rec)
	if err != nil {
		return nil, fmt.Errorf("encoding a snapshot: %w", err)
	}
	return b, nil
}

// Close releases everything; what was committed is on disk already. A second
// call does nothing.
func (p *Plant) Close() error {
	if p.closed {
		return nil
	}
	p.closed = true
	var errs []error
	if p.srv != nil {
		errs = append(errs, p.srv.Close())
	}
	if p.jr != nil {
		errs = append(errs, p.jr.Close())
	}
	if p.ledger != nil {
		errs = append(errs, p.ledger.f.Close())
	}
	if p.unlock != nil {
		errs = append(errs, p.unlock())
	}
	return errors.Join(errs...)
}

// report prints the status line.
func (p *Plant) report() error {
	if p.cfg.Out == nil {
		return nil
	}
	b, err := json.Marshal(p.Status())
	if err != nil {
		return fmt.Errorf("encoding the status: %w", err)
	}
	_, err = fmt.Fprintf(p.cfg.Out, "%s\n", b)
	return err
}
