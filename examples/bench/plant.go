package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/mapping"
	"github.com/plantloom/plantloom/pipeline"
)

const (
	sourceID  = "line"
	site      = "demo/riverside"
	scan      = 500 * time.Millisecond // of a line's PLC, as in the demo plant
	tailScans = 24                     // enough for every interval and settling time to end: 12 s
)

// fleet is the workload: lines that behave as those of the demo plant do, without its files and its OPC UA server. Each
// reports what changed, one sample per change. Equal settings give equal samples.
type fleet struct {
	lines    []*line
	at       time.Time // of the next scan
	position uint64
	waiting  []pipeline.Sample
	ending   bool
}

// newFleet returns n lines at their first scan.
func newFleet(n int) *fleet {
	f := &fleet{at: time.Date(2026, 1, 5, 6, 0, 0, 0, time.UTC)}
	for i := range n {
		f.lines = append(f.lines, newLine(i))
	}
	return f
}

// next appends n samples to into, in the order of their source time.
func (f *fleet) next(into []pipeline.Sample, n int) []pipeline.Sample {
	for len(f.waiting) < n {
		f.scan()
	}
	into = append(into, f.waiting[:n]...)
	f.waiting = append(f.waiting[:0], f.waiting[n:]...)
	return into
}

// tail returns what the lines still report when every order is ended where it stands, so that each event of the
// samples before it is due.
func (f *fleet) tail() []pipeline.Sample {
	f.ending = true
	for range tailScans {
		f.scan()
	}
	for i, l := range f.lines { // the newest sample of each line ends its wait for the watermark
		f.add(l.sample(l.speed, pipeline.Float(0), f.time(i)))
	}
	return f.waiting
}

// time is the source time of a line in this scan; the lines' scans are spread, so that time never goes back.
func (f *fleet) time(line int) time.Time {
	return f.at.Add(scan * time.Duration(line) / time.Duration(len(f.lines)))
}

func (f *fleet) scan() {
	for i, l := range f.lines {
		for _, s := range l.scan(f.time(i), f.ending) {
			f.add(s)
		}
	}
	f.at = f.at.Add(scan)
}

func (f *fleet) add(s pipeline.Sample) {
	f.position++
	s.Position = f.position
	f.waiting = append(f.waiting, s)
}

// batch is what a source emits: samples with the source's promise about its time, and the cursor behind them.
func batch(samples []pipeline.Sample, cursor []byte) pipeline.Batch {
	return pipeline.Batch{
		Session: "urn:bench/1/1", Samples: samples, Watermark: samples[len(samples)-1].At, State: pipeline.StateLive, Cursor: cursor,
	}
}

// cursorOf makes a cursor that compresses as little as the OPC UA source's, which is base64 for the most part.
func cursorOf(n int) []byte {
	rng, c := rand.New(rand.NewPCG(2, 2)), make([]byte, n)
	for i := range c {
		c[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[rng.IntN(64)]
	}
	return c
}

// line is one bottling line.
type line struct {
	state, speed, good, scrap, order, operation, totalGood, totalScrap, done string // tag ids

	rng                    *rand.Rand
	goodCount, scrapCount  uint16 // roll over
	made, rejected, target int64  // of the order
	number                 int    // of the order
	phase                  phase
	left                   int // scans of the phase
	changes                []pipeline.Sample
}

type phase uint8

const (
	phaseFirst phase = iota // before the first scan
	phaseSetup
	phaseRun
	phaseStop // a micro-stop
	phaseCompleting
	phaseDone
	phaseIdle
)

func lineName(i int) string { return fmt.Sprintf("L%03d", i+1) }

func assetOf(name string) string { return site + "/bottling/" + name }

func newLine(i int) *line {
	tag := func(s string) string { return lineName(i) + "/" + s }
	return &line{
		state: tag("State"), speed: tag("Speed"), good: tag("Cnt.Good"), scrap: tag("Cnt.Scrap"), order: tag("Order.No"),
		operation: tag("Order.Operation"), totalGood: tag("Order.Good"), totalScrap: tag("Order.Scrap"), done: tag("Order.Done"),
		rng: rand.New(rand.NewPCG(1, uint64(i))), goodCount: 65_000, scrapCount: 65_500, number: (i + 1) * 100_000,
	}
}

func (l *line) sample(tag string, v pipeline.Value, at time.Time) pipeline.Sample {
	return pipeline.Sample{Tag: tag, Value: v, At: at, ServerAt: at, Seen: at.Add(4 * time.Millisecond)}
}

func (l *line) set(tag string, v pipeline.Value, at time.Time) {
	l.changes = append(l.changes, l.sample(tag, v, at))
}

// scan moves the line by one scan and returns what changed; the slice is valid until the next scan.
func (l *line) scan(at time.Time, ending bool) []pipeline.Sample {
	l.changes = l.changes[:0]
	if l.phase == phaseRun {
		l.run(at, ending)
		return l.changes
	}
	if l.left--; l.left > 0 {
		return l.changes
	}
	switch l.phase {
	case phaseFirst:
		l.first(at)
	case phaseSetup, phaseStop:
		l.enter(phaseRun, 0, at)
	case phaseCompleting:
		l.set(l.done, pipeline.Bool(true), at)
		l.enter(phaseDone, 6, at)
	case phaseDone:
		l.made, l.rejected = 0, 0
		l.set(l.done, pipeline.Bool(false), at)
		l.set(l.order, pipeline.Text(""), at)
		l.set(l.totalGood, pipeline.Int(0), at)
		l.set(l.totalScrap, pipeline.Int(0), at)
		l.enter(phaseIdle, 10+l.rng.IntN(10), at)
	case phaseIdle:
		if !ending {
			l.begin(at)
		}
	}
	return l.changes
}

// enter changes the phase and reports it as the state; scans is how long it lasts.
func (l *line) enter(p phase, scans int, at time.Time) {
	l.phase, l.left = p, scans
	l.set(l.state, pipeline.Int(int64(p)), at)
}

// first reports every tag once, as a subscription begins.
func (l *line) first(at time.Time) {
	l.set(l.good, pipeline.Int(int64(l.goodCount)), at)
	l.set(l.scrap, pipeline.Int(int64(l.scrapCount)), at)
	l.set(l.order, pipeline.Text(""), at)
	l.set(l.operation, pipeline.Text("0010"), at)
	l.set(l.totalGood, pipeline.Int(0), at)
	l.set(l.totalScrap, pipeline.Int(0), at)
	l.set(l.done, pipeline.Bool(false), at)
	for i := range l.changes {
		l.changes[i].Flags = pipeline.FlagInitial
	}
	l.enter(phaseIdle, 1+l.rng.IntN(120), at) // so that the lines' orders do not end together
}

func (l *line) begin(at time.Time) {
	l.number++
	l.target = 300 + l.rng.Int64N(200)
	l.set(l.order, pipeline.Text(strconv.Itoa(l.number)), at)
	l.enter(phaseSetup, 8, at)
}

// run makes at most one bottle per scan: 120 per minute.
func (l *line) run(at time.Time, ending bool) {
	if l.rng.IntN(33) == 0 {
		l.scrapCount++
		l.rejected++
		l.set(l.scrap, pipeline.Int(int64(l.scrapCount)), at)
		l.set(l.totalScrap, pipeline.Int(l.rejected), at)
	} else {
		l.goodCount++
		l.made++
		l.set(l.good, pipeline.Int(int64(l.goodCount)), at)
		l.set(l.totalGood, pipeline.Int(l.made), at)
		if l.rng.IntN(200) == 0 && l.target-l.made > 10 { // the sensor fails; the counter goes on
			l.changes[len(l.changes)-2].Value, l.changes[len(l.changes)-2].Quality = pipeline.Null(), pipeline.BadSensorFailure
		}
	}
	if at.Nanosecond() < int(scan) {
		l.set(l.speed, pipeline.Float(118+float32(l.rng.IntN(40))/10), at)
	}
	switch {
	case ending || l.made >= l.target:
		l.enter(phaseCompleting, 3, at)
	case l.rng.IntN(50) == 0:
		l.enter(phaseStop, 2+l.rng.IntN(4), at)
	}
}

// loadSet loads the bottling line's mapping for n lines: its files and tag list as they stand in dir, and a machine
// table of so many rows.
func loadSet(dir string, n int) (*mapping.Set, []pipeline.Tag, error) {
	var files []*inboxv1.MappingFile
	for _, name := range []string{"line.map.yaml", "recipe.csv", "tags.csv"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, nil, fmt.Errorf("reading the bottling line (run in the project's directory, or say -plant): %w", err)
		}
		files = append(files, &inboxv1.MappingFile{Name: name, Content: text})
	}
	var faults conf.Faults
	rows := mapping.ReadTags("tags.csv", files[2].GetContent(), &faults)
	table := "name,asset,plc,work_center\n"
	var tags []pipeline.Tag
	for i := range n {
		name := lineName(i)
		table += fmt.Sprintf("%s,%s,%s,%s\n", name, assetOf(name), name, name)
		for _, t := range rows {
			if part, ok := strings.CutPrefix(t.ID, "L1/"); ok {
				t.ID, t.Asset = name+"/"+part, assetOf(name)
				tags = append(tags, t)
			}
		}
	}
	files = append(files[:2], &inboxv1.MappingFile{Name: "lines.csv", Content: []byte(table)},
		&inboxv1.MappingFile{Name: "lines.plant.yaml", Content: []byte("use: line.map.yaml\nmachines: lines.csv\n")})
	set := mapping.Load(mapping.FromFiles(files), map[string][]pipeline.Tag{sourceID: tags}, &faults)
	if err := faults.Err(); err != nil {
		return nil, nil, fmt.Errorf("loading the bottling line: %w", err)
	}
	return set, tags, nil
}
