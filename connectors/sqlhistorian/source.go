package sqlhistorian

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/plantloom/plantloom/pipeline"
)

type source struct {
	config Config
	host   pipeline.Host
	open   opener
}

var _ pipeline.Source = (*source)(nil)

// run is one Run: everything it knows is rebuilt from the cursor by the next.
type run struct {
	*source
	db        *database
	out       pipeline.Outlet
	tail      *tail
	catalogue *catalogue
	watermark time.Time
	reported  string
}

// Run implements pipeline.Source.
func (s *source) Run(ctx context.Context, cursor []byte, out pipeline.Outlet) error {
	err := s.run(ctx, cursor, out)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (s *source) run(ctx context.Context, cursor []byte, out pipeline.Outlet) (err error) {
	r := &run{source: s, out: out}
	if r.tail, err = s.begin(cursor); err != nil {
		return err
	}
	if r.db, err = s.open(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.db.Close()) }()
	if cursor == nil {
		// The place of the first start is durable before the first row, so that a
		// restart does not begin at another "now".
		if err := r.emit(ctx, nil, pipeline.StateLive, time.Time{}); err != nil {
			return err
		}
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if err := r.poll(ctx); err != nil {
			return err
		}
		timer.Reset(s.config.Poll)
	}
}

// begin returns the tail that the cursor says, or that of the very first start.
func (s *source) begin(cursor []byte) (*tail, error) {
	if cursor != nil {
		return decodeTail(cursor)
	}
	at, err := s.config.Start.at(s.host.Now())
	if err != nil {
		return nil, err
	}
	floor := int64(-1) // no history is older than 1970
	if !at.IsZero() {
		floor = at.UnixMilli() - 1
	}
	return &tail{floor: floor, newest: floor, seen: map[uint64]int64{}}, nil
}

// poll delivers what is new, page by page until the present.
func (r *run) poll(ctx context.Context) error {
	if err := r.db.alive(); err != nil {
		return err
	}
	// Rows of the future, from a clock that is ahead, wait until their time: else
	// they would move the tail beyond rows that are still to come.
	now := r.host.Now().UTC()
	from, to := r.tail.from(r.config.Overlap.Milliseconds()), now.UnixMilli()
	parts, err := r.prepare(ctx, from, to)
	if err != nil {
		return err
	}
	before := r.tail.newest
	for from < to {
		rows, through, err := r.page(ctx, parts, from, to)
		if err != nil {
			return err
		}
		if err := r.deliver(ctx, rows, now, through, through < to, before); err != nil {
			return err
		}
		from = through
	}
	r.tail.forget(r.config.Overlap.Milliseconds())
	return nil
}

// page reads the next rows; without any known tag there are none.
func (r *run) page(ctx context.Context, parts []partition, from, to int64) ([]row, int64, error) {
	if r.catalogue.ids == "" {
		return nil, to, nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	return readPage(ctx, r.db, parts, r.catalogue.ids, from, to, r.config.Page)
}

// prepare reads the catalogue when it has changed, and the partitions of a stretch.
func (r *run) prepare(ctx context.Context, from, to int64) ([]partition, error) {
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	state, err := catalogueState(ctx, r.db)
	if err != nil {
		return nil, err
	}
	if r.catalogue == nil || r.catalogue.state != state {
		if r.catalogue, err = readCatalogue(ctx, r.db, r.host.Tags, r.config.System); err != nil {
			return nil, err
		}
	}
	parts, lost, err := readPartitions(ctx, r.db, r.config.Table, r.catalogue.drivers, from, to)
	if err != nil {
		return nil, err
	}
	r.report(lost)
	return parts, nil
}

// report says what people should know, when it changes.
func (r *run) report(lost []string) {
	status := pipeline.Status{State: pipeline.Running, Details: map[string]string{"driver": string(r.config.Driver)}}
	var reasons []string
	if n := len(r.catalogue.missing); n > 0 {
		const most = 5
		names := strings.Join(r.catalogue.missing[:min(n, most)], ", ")
		reasons = append(reasons, fmt.Sprintf("%d of %d tags are not in the history: %s; correct their address, or log them in the gateway", n, len(r.host.Tags), names))
	}
	if len(lost) > 0 {
		reasons = append(reasons, "partitions are listed and gone: "+strings.Join(lost, ", "))
	}
	if len(reasons) > 0 {
		status.State, status.Reason = pipeline.Degraded, strings.Join(reasons, "; ")
	}
	if said := string(status.State) + status.Reason; said != r.reported {
		r.reported = said
		r.host.Report(status)
		if status.Reason != "" {
			r.host.Log.Warn("the history is not complete", "connector", r.host.ID, "reason", status.Reason)
		}
	}
}

// deliver emits the rows that were not delivered before, and moves the tail.
func (r *run) deliver(ctx context.Context, rows []row, now time.Time, through int64, more bool, before int64) error {
	var samples []pipeline.Sample
	late := 0
	for _, row := range rows {
		tag := r.catalogue.tags[row.tagID]
		hash := rowHash(tag.ID, row)
		if _, ok := r.tail.seen[hash]; ok {
			continue
		}
		r.tail.seen[hash] = row.ms
		if row.ms <= before {
			late++
		}
		r.tail.newest = max(r.tail.newest, row.ms)
		samples = append(samples, r.sample(tag, row, now))
	}
	r.host.Count("rows_late", float64(late))
	state, promise := pipeline.StateLive, now.Add(-r.config.Lag)
	if more {
		if len(samples) == 0 {
			return nil // a stretch that is read again holds nothing new
		}
		// Filling: nothing is promised beyond what is read. (R11)
		state = pipeline.StateFilling
		if read := time.UnixMilli(through).UTC(); read.Before(promise) {
			promise = read
		}
		r.tail.forget(r.config.Overlap.Milliseconds())
	}
	return r.emit(ctx, samples, state, promise)
}

// emit hands samples over with the cursor behind them; a batch without samples
// carries the watermark alone, except the first of all.
func (r *run) emit(ctx context.Context, samples []pipeline.Sample, state pipeline.SourceState, promise time.Time) error {
	if promise.After(r.watermark) { // R10: it never runs back
		r.watermark = promise
	}
	b := pipeline.Batch{Session: Name, Samples: samples, State: state, Watermark: r.watermark}
	if len(samples) > 0 || promise.IsZero() {
		cursor, err := r.tail.encode()
		if err != nil {
			return fmt.Errorf("encoding the cursor: %w", err)
		}
		b.Cursor = cursor
	}
	if err := r.out.Emit(ctx, b); err != nil {
		return fmt.Errorf("emitting %d samples: %w", len(samples), err)
	}
	return nil
}

// sample makes a sample of a row. It has no position: rows come late, so that no
// order of reading is the history's own; repeats are told by identity (R7).
func (r *run) sample(tag pipeline.Tag, row row, now time.Time) pipeline.Sample {
	s := pipeline.Sample{Tag: tag.ID, Quality: quality(row.integrity), At: time.UnixMilli(row.ms).UTC(), Seen: now}
	value, ok := row.value(tag.Type)
	if !ok {
		s.Quality = badTypeMismatch
		r.host.Count("values_of_wrong_type", 1)
	}
	s.Value = value
	if now.Sub(s.At) > r.config.HistoricalAfter {
		s.Flags |= pipeline.FlagHistorical
	}
	return s
}
