package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// arm is one way to run the spine, of which several runs are made.
type arm struct {
	Name  string
	Fsync bool
	Apart bool // collect first, then map over what it left; else both at once
}

// arms are the ways that are compared. The first two are the same: how far they lie apart is what this machine's noise
// makes of equal things.
func arms() []arm {
	return []arm{
		{Name: "fsync", Fsync: true},
		{Name: "fsync, the same again (control)", Fsync: true},
		{Name: "no fsync"},
		{Name: "collect alone, then map alone; fsync", Fsync: true, Apart: true},
	}
}

// leg is what a run of one or both roles took.
type leg struct {
	Wall    time.Duration
	Roles   usage // of the process with the roles
	Broker  usage
	Steps   int64
	Samples int
}

// run is one measured run.
type run struct {
	Legs   []leg // one, or collect and map
	Counts counts
	Disk   map[string]int64 // bytes of the broker's files by topic
}

// perStep is how many samples a step of the map role covered.
func (r run) perStep() float64 {
	return float64(r.Counts.Samples) / float64(r.Legs[len(r.Legs)-1].Steps)
}

// runArm makes one run on a new broker.
func runArm(ctx context.Context, a arm, w workload, want truth, dir string, now func() time.Time) (r run, err error) {
	b, err := startBroker(ctx, dir, a.Fsync)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	jobs := []spineJob{{Collect: true, Map: true}}
	if a.Apart {
		jobs = []spineJob{{Collect: true}, {Map: true}}
	}
	for _, j := range jobs {
		j.workload, j.Broker, j.Events = w, b.addr, int64(len(want.IDs))
		l, err := runLeg(ctx, b, j)
		if err != nil {
			return r, fmt.Errorf("running %q: %w", a.Name, err)
		}
		l.Samples = want.Samples
		r.Legs = append(r.Legs, l)
	}
	if r.Disk, err = b.topicBytes(); err != nil {
		return r, err
	}
	c, err := open(ctx, b.addr, w.Partitions, now)
	if err != nil {
		return r, err
	}
	defer c.Close()
	if r.Counts, err = count(ctx, c, w, want); err != nil {
		return r, fmt.Errorf("counting after %q: %w", a.Name, err)
	}
	if err := r.Counts.check(want); err != nil {
		return r, fmt.Errorf("counting after %q: %w", a.Name, err)
	}
	return r, nil
}

// runLeg runs a job in a process of its own and looks at the broker at its start and end.
func runLeg(ctx context.Context, b *brokerProc, j spineJob) (l leg, err error) {
	p, err := spawn(ctx, roleSpine, j)
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	var word string
	if err := p.answer(&word); err != nil {
		return l, err
	}
	before, err := b.usage()
	if err != nil {
		return l, err
	}
	var res spineResult
	if err := p.ask("go", &res); err != nil {
		return l, err
	}
	after, err := b.usage()
	if err != nil {
		return l, err
	}
	if err := p.enc.Encode("end"); err != nil {
		return l, fmt.Errorf("ending a run: %w", err)
	}
	return leg{Wall: res.Wall, Roles: res.Used, Broker: after.since(before), Steps: res.Steps}, nil
}
