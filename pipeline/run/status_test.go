package run

import (
	"testing"
	"time"

	"github.com/plantloom/plantloom/pipeline"
)

func TestAComponentWithTwoReportersShowsTheWorstAndEveryReason(t *testing.T) {
	t.Parallel()
	r := newRegistry(func() time.Time { return time.Unix(1, 0) })
	c := r.component("sink", "sink/erp")
	lanes, connector := c.part("lanes"), c.part("connector")
	for _, step := range []struct {
		report        func(pipeline.Status)
		status        pipeline.Status
		state, reason string
	}{
		{lanes, pipeline.Status{State: pipeline.Running}, "running", ""},
		{connector, pipeline.Status{State: pipeline.Down, Reason: "refused"}, "down", "refused"},
		{lanes, pipeline.Status{State: pipeline.Degraded, Reason: "2 wait"}, "down", "refused; 2 wait"},
		{connector, pipeline.Status{State: pipeline.Running}, "degraded", "2 wait"},
		{lanes, pipeline.Status{State: pipeline.Running}, "running", ""},
	} {
		step.report(step.status)
		got := r.snapshot("i", "v", nil).GetComponents()[0]
		if got.GetState() != step.state || got.GetReason() != step.reason {
			t.Errorf("state %q, reason %q; want %q, %q", got.GetState(), got.GetReason(), step.state, step.reason)
		}
	}
}
