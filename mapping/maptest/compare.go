package maptest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/mapping"
)

// compare matches what a run gave with what its test expects. First everything that is exactly as expected is paired,
// then what is left of the same rule, to show its differences; the rest is missing or unexpected.
func compare(t *mapping.Test, r *run) (failures []Failure) {
	taken := make([]bool, len(r.seen))
	var open []*mapping.Expectation
	for i := range t.Expect {
		want := &t.Expect[i]
		at := slices.IndexFunc(indices(r.seen), func(j int) bool { return !taken[j] && len(r.differs(want, &r.seen[j])) == 0 })
		if at < 0 {
			open = append(open, want)
			continue
		}
		taken[at] = true
	}
	for _, want := range open {
		best, fewest := -1, []string(nil)
		for j := range r.seen {
			if s := &r.seen[j]; !taken[j] && s.kind == want.Kind && s.rule == want.Rule {
				if d := r.differs(want, s); best < 0 || len(d) < len(fewest) {
					best, fewest = j, d
				}
			}
		}
		if best < 0 {
			failures = append(failures, Failure{At: want.Pos, Message: fmt.Sprintf("%s %s at %s did not come", want.Kind, want.Rule, want.At)})
			continue
		}
		taken[best] = true
		failures = append(failures, Failure{At: want.Pos, Message: fmt.Sprintf("%s %s at %s differs\n      %s",
			want.Kind, want.Rule, want.At, strings.Join(fewest, "\n      "))})
	}
	for j := range r.seen {
		if !taken[j] {
			failures = append(failures, Failure{At: t.At, Message: "not expected: " + r.describe(&r.seen[j])})
		}
	}
	return failures
}

func indices(list []seen) []int {
	out := make([]int, len(list))
	for i := range out {
		out[i] = i
	}
	return out
}

// differs lists how an observation differs from an expectation; nil when it is as expected.
func (r *run) differs(want *mapping.Expectation, got *seen) (out []string) {
	if want.Kind != got.kind || want.Rule != got.rule {
		return []string{"another rule"}
	}
	if want.At != got.at && want.Kind != "dead" { // a dead letter has no event time
		out = append(out, diff("at", want.At.String(), got.at.String()))
	}
	for _, f := range want.Fields {
		value := r.field(got, f.Path)
		if w := wanted(f.Want); !same(w, value) {
			out = append(out, diff(f.Path, w, value))
		}
	}
	return out
}

// field is the text of a field of an event, of an output of a write, or of a dead letter's code.
func (r *run) field(s *seen, path string) string {
	switch {
	case s.body != nil:
		return lookAt(s.body, path, r.test.Start)
	case s.command != nil:
		tag := r.test.Machine.Outputs[path].Tag
		for _, w := range s.command.GetWrites() {
			if w.GetTagId() == tag {
				return showValue(w.GetValue(), r.test.Start)
			}
		}
	case s.dead != nil && path == "code":
		return s.dead.Code
	}
	return absent
}

// describe says in a line what a rule gave.
func (r *run) describe(s *seen) string {
	text := fmt.Sprintf("%s %s at %s", s.kind, s.rule, s.at)
	switch {
	case s.dead != nil:
		text += fmt.Sprintf(" (%s: %s)", s.dead.Code, s.dead.Reason)
	case s.command != nil:
		names := map[string]string{}
		for name, target := range r.test.Machine.Outputs {
			names[target.Tag] = name
		}
		for _, w := range s.command.GetWrites() {
			text += fmt.Sprintf(" %s=%s", names[w.GetTagId()], showValue(w.GetValue(), r.test.Start))
		}
	case s.body != nil:
		for _, path := range shownFields() {
			if v := lookAt(s.body, path, r.test.Start); v != absent {
				text += " " + path + "=" + v
			}
		}
	}
	return text
}

// shownFields are what an unexpected event is told by.
func shownFields() []string {
	return []string{"type", "order_id", "serial_numbers", "delta.good", "delta.scrap", "cumulative.good", "cumulative.scrap", "verdict", "reason_code"}
}

// differences compares another way with the plain one: the same events, commands and dead letters, ids included.
func differences(t *mapping.Test, w way, plain, other *run) (failures []Failure) {
	fail := func(format string, args ...any) {
		failures = append(failures, Failure{At: t.At, Way: w.name, Message: fmt.Sprintf(format, args...)})
	}
	a, b := plain.seen, other.seen
	if w.seed != 0 {
		a, b = ordered(a), ordered(b)
	}
	for i := range min(len(a), len(b)) {
		if what := unlike(&a[i], &b[i], w.seed != 0); what != "" {
			fail("%s is not the same as in the plain way (%s)\n      plain: %s\n      here:  %s", a[i].kind, what, plain.describe(&a[i]), other.describe(&b[i]))
			return failures
		}
	}
	for i := len(b); i < len(a); i++ {
		fail("missing: %s", plain.describe(&a[i]))
	}
	for i := len(a); i < len(b); i++ {
		fail("one more: %s", other.describe(&b[i]))
	}
	return failures
}

// ordered sorts by event time, and rule: which of two rules that know nothing of each other comes first is no promise.
func ordered(list []seen) []seen {
	out := slices.Clone(list)
	slices.SortStableFunc(out, func(a, b seen) int {
		if a.at != b.at {
			return int(min(1, max(-1, a.at-b.at)))
		}
		return strings.Compare(a.kind+a.rule, b.kind+b.rule)
	})
	return out
}

// unlike says what differs between two observations, "" when nothing does. When arrival differs, so may what tells of
// arrival: when an event was recorded, and until when a write is allowed.
func unlike(a, b *seen, arrival bool) string {
	switch {
	case a.kind != b.kind || a.rule != b.rule:
		return "another rule"
	case a.at != b.at:
		return "another time"
	case a.event != nil:
		if a.event.ID != b.event.ID || a.event.Revision != b.event.Revision {
			return "another event id"
		}
		if a.event.Key != b.event.Key || !bytes.Equal(body(a, arrival), body(b, arrival)) {
			return "another content"
		}
	case a.command != nil:
		if !proto.Equal(command(a.command, arrival), command(b.command, arrival)) {
			return "another content"
		}
	case a.dead != nil:
		if a.dead.Code != b.dead.Code {
			return "another code"
		}
	}
	return ""
}

func body(s *seen, arrival bool) []byte {
	if !arrival {
		return s.event.Body
	}
	m := proto.Clone(s.body.Interface()).ProtoReflect()
	if fd := m.Descriptor().Fields().ByName("header"); fd != nil && m.Has(fd) {
		header := m.Mutable(fd).Message()
		header.Clear(header.Descriptor().Fields().ByName("recorded_at"))
	}
	out, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.Interface())
	if err != nil {
		return nil
	}
	return out
}

func command(c *inboxv1.Command, arrival bool) *inboxv1.Command {
	if !arrival {
		return c
	}
	out := proto.Clone(c).(*inboxv1.Command)
	out.Deadline = nil
	return out
}
