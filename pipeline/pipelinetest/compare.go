package pipelinetest

import (
	"fmt"

	"github.com/plantloom/plantloom/pipeline"
)

// awaitAll waits until every reading has arrived, per tag in its order. Repeats
// are left out as the engine does (R7). With Coalesces, some may be missing, never
// the last of a tag.
func (r *running) awaitAll(f SourceFixture, want []Reading) {
	r.tb.Helper()
	var problem string
	arrived := func() bool {
		problem = f.compare(r.rec.Batches(), want)
		return problem == ""
	}
	if !r.rec.Await(f.patience(), arrived) {
		select {
		case <-r.done:
			r.tb.Fatalf("%s; Run has ended: %v", problem, r.err)
		default:
			r.tb.Fatal(problem)
		}
	}
}

// compare returns what is wrong with what arrived, or "".
func (f SourceFixture) compare(batches []pipeline.Batch, want []Reading) string {
	wanted := map[string][]int{} // indexes of want by tag
	for i, w := range want {
		wanted[w.Tag] = append(wanted[w.Tag], i)
	}
	arrived := map[string][]int{}
	repeat := map[int]bool{}
	for _, i := range f.arrivals(batches, want) {
		if !repeat[i] {
			repeat[i] = true
			arrived[want[i].Tag] = append(arrived[want[i].Tag], i)
		}
	}
	for tag, indexes := range wanted {
		if problem := f.compareTag(tag, arrived[tag], indexes, want); problem != "" {
			return problem
		}
	}
	return ""
}

func (f SourceFixture) compareTag(tag string, got, indexes []int, want []Reading) string {
	for i := 1; i < len(got); i++ {
		if got[i] < got[i-1] {
			return fmt.Sprintf("%s: %v arrives before %v", tag, want[got[i-1]], want[got[i]])
		}
	}
	last := indexes[len(indexes)-1]
	if len(got) == 0 || got[len(got)-1] != last {
		return fmt.Sprintf("%s: the last reading %v has not arrived; %d of %d have", tag, want[last], len(got), len(indexes))
	}
	if !f.Coalesces && len(got) != len(indexes) {
		return fmt.Sprintf("%s: %d of %d readings have arrived", tag, len(got), len(indexes))
	}
	return ""
}

// arrivals returns the indexes of the readings in the order in which they arrived.
func (f SourceFixture) arrivals(batches []pipeline.Batch, want []Reading) []int {
	var out []int
	for _, b := range batches {
		for _, s := range b.Samples {
			if i, ok := f.matches(s, want); ok {
				out = append(out, i)
			}
		}
		for _, o := range b.Orders {
			for i, w := range want {
				if w.Order != "" && w.Order == o.GetOrderId() {
					out = append(out, i)
				}
			}
		}
	}
	return out
}

// matches finds the reading that a sample is: by value, quality and device time.
// Other samples (initial values, marks of gaps) are nobody's.
func (f SourceFixture) matches(s pipeline.Sample, want []Reading) (int, bool) {
	for i, w := range want {
		if w.Order != "" || w.Tag != s.Tag || w.Quality != s.Quality {
			continue
		}
		// Bad readings often lose their value on the way.
		if w.Value != s.Value && !(w.Quality.IsBad() && s.Value.IsNull()) {
			continue
		}
		if f.NoDeviceTime || w.At.Equal(s.At) {
			return i, true
		}
	}
	return 0, false
}

func orderID(n int) string { return fmt.Sprintf("ORDER-%04d", 1000+n) }
