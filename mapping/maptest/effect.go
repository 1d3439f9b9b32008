package maptest

import (
	"slices"
	"strings"
	"time"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/mapping"
	"github.com/plantloom/plantloom/mapping/engine"
)

// apply gives the engine a record that arrives at an instant, and notes what comes of it.
func (r *run) apply(arrive time.Duration, rec *inboxv1.InboxRecord) {
	key := r.test.Machine.Asset
	if rec.GetHeartbeat() != nil {
		key = mapping.TestSource
	}
	r.effects.Reset()
	r.engine.Apply(engine.Cause{Record: rec, Key: key, Offset: r.offset, At: r.time(arrive)}, &r.effects)
	r.offset++
	first := len(r.seen)
	for i := range r.effects.Events {
		e := r.effects.Events[i]
		s := seen{kind: "event", rule: e.Rule, at: e.At.Sub(r.test.Start), event: &e.Event}
		m, err := message(&e.Event)
		if err != nil {
			r.broken = err
			return
		}
		s.body = m
		r.seen = append(r.seen, s)
	}
	for _, c := range r.effects.Commands {
		s := seen{kind: "write", rule: r.ruleOf(c), command: c, at: arrive}
		if c.GetIdempotent() {
			s.kind = "ack"
		} else {
			r.waiting = append(r.waiting, c)
		}
		// A command has no time of its own: it is that of the event beside it, else that of the record.
		if i := slices.IndexFunc(r.seen[first:], func(x seen) bool { return x.kind == "event" && x.rule == s.rule }); i >= 0 {
			s.at = r.seen[first+i].at
		}
		r.seen = append(r.seen, s)
	}
	for i := range r.effects.Dead {
		d := r.effects.Dead[i]
		r.seen = append(r.seen, seen{kind: "dead", rule: d.Details["rule"], at: arrive, dead: &d})
	}
}

// ruleOf finds the rule that a command comes from: the one that writes these tags, or acknowledges with them.
func (r *run) ruleOf(c *inboxv1.Command) string {
	var fits []string
	for i := range r.mapping.Spec.Rules {
		rule := &r.mapping.Spec.Rules[i]
		assigns := rule.Write
		if c.GetIdempotent() {
			assigns = rule.Ack
		}
		if len(assigns) > 0 && r.writesAll(assigns, c) {
			fits = append(fits, rule.Name.Text)
		}
	}
	for _, name := range fits { // several rules may write the same tags
		if strings.Contains(c.GetCorrelationId(), name) {
			return name
		}
	}
	if len(fits) > 0 {
		return fits[0]
	}
	return ""
}

func (r *run) writesAll(assigns []engine.Assign, c *inboxv1.Command) bool {
	for _, w := range c.GetWrites() {
		if !slices.ContainsFunc(assigns, func(a engine.Assign) bool {
			for name, target := range r.test.Machine.Outputs {
				output, _, _ := strings.Cut(name, "/")
				if output == a.Output.Text && target.Tag == w.GetTagId() {
					return true
				}
			}
			return false
		}) {
			return false
		}
	}
	return true
}
