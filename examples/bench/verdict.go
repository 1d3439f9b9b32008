package main

import (
	"fmt"
	"slices"
	"strings"
)

// share is a piece of what a sample costs, in CPU ns.
type share struct {
	name string
	ns   float64
}

// shares cuts what a sample costs in the map role and in the collect role into the stages that were measured by
// themselves, the greatest first. The stages of events count by how many events a sample gives.
func shares(r results) []share {
	cost := map[string]float64{}
	for _, m := range r.Stages {
		ns := m.of(figure.cpu).Median
		if m.Unit == "event" {
			ns *= float64(r.Events) / float64(r.CorpusOf)
		}
		cost[m.Name] = ns
	}
	list := []share{
		{"the source's stand-in", cost[stageSource]},
		{"`inbox.Encode`", cost[stageEncode]},
		{"marshalling inbox records", cost[stageMarshal]},
		{"the producer", cost[stageProduce]},
		{"the fetcher", cost[stageFetch]},
		{"unmarshalling inbox records", cost[stageUnmarshal]},
		{"`inbox.Decode`", cost[stageDecode]},
		{"the engine proper", cost[stageApply] - cost[stageDecode]},
		{"the engine's state deltas", max(0, cost[stageDelta]-cost[stageApply])},
		{"the step's commit", cost[stageCommit]}, // with the events' records in it
	}
	slices.SortStableFunc(list, func(a, b share) int {
		switch {
		case a.ns > b.ns:
			return -1
		case a.ns < b.ns:
			return 1
		}
		return 0
	})
	return list
}

// writeDominating says what costs most. It is made of the figures, so that it cannot say something else than they do.
func writeDominating(w writer, r results) {
	row := legs(r)[0].legs
	perSample := func(pick func(leg) float64) float64 {
		return over(row, func(x leg) float64 { return pick(x) / float64(x.Samples) }).Median
	}
	roles := perSample(func(x leg) float64 { return float64(x.Roles.CPU) })
	broker := perSample(func(x leg) float64 { return float64(x.Broker.CPU) })
	cores := over(row, func(x leg) float64 { return float64(x.Roles.CPU+x.Broker.CPU) / float64(x.Wall) }).Median
	list := shares(r)
	sum := 0.0
	for _, s := range list {
		sum += s.ns
	}
	named := make([]string, 0, 4)
	for _, s := range list[:4] {
		named = append(named, fmt.Sprintf("%s (%s ns)", s.name, number(s.ns)))
	}
	w("## What dominates")
	w("")
	w("With fsync a sample costs %s CPU-ns in the roles and %s in the broker, %.0f %% of the two; the run keeps %s of %d cores", number(roles), number(broker), 100*broker/(roles+broker), number(cores), r.Host.Cores)
	w("busy. The rest is waiting: for the disk, for acknowledgements of the one batch that is under way at a time, and for other programs.")
	w("Measured by themselves the stages of the roles add up to %s ns. The greatest are %s;", number(sum), strings.Join(named[:3], ", ")+" and "+named[3])
	w("together they are %.0f %% of that sum. The roles' CPU time end to end is %s ns away from the sum. What the stages do not hold is,", 100*(list[0].ns+list[1].ns+list[2].ns+list[3].ns)/sum, number(roles-sum))
	w("among other things, cutting batches by line, saving the cursor with each batch, polling, waking up for small answers, and the")
	w("work that Go's collector does on cores that wait.")
	w("")
}

func writeMethod(w writer, r results) {
	o := r.Options
	w("## How it was measured")
	w("")
	w("- The workload: lines as those of the demo plant, scanned every 500 ms; counters that roll over, totals, speed, states, orders of")
	w("  300 to 500 pieces, micro-stops, 1 in 200 counter readings bad. Every sample has a position, source, server and arrival time.")
	w("  Equal settings give equal samples. The lines' event time runs as fast as the samples go through.")
	w("- End to end: one run to warm up, then %d rounds in which the ways take turns. Each run has a new broker on an empty directory and", o.Runs)
	w("  roles in a new process. Time and CPU are taken from the start of the source (of the fetchers, for map alone) to the commit of the")
	w("  last event, in both processes at the same instants, wall time to within 2 ms. The source's own work is in the roles' figures.")
	w("- The broker is the embedded one, one process without replication. Apache Kafka was not measured.")
	w("- Again: `make bench`, on a machine that does nothing else. Settings: `go run ./examples/bench -h`.")
}
