package mapping

import (
	"fmt"
	"slices"
	"strings"

	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/mapping/engine"
)

// problem is why a machine's address has no fitting tag.
type problem struct {
	code, message, near, hint string
}

// resolve finds the tag of every address of every machine. What fails for all machines of a mapping is the mapping's
// fault and reported once, at the address; what fails for some is reported at their rows.
func (b *binder) resolve() {
	for _, m := range b.set.Mappings {
		var mine []*stamp
		for i := range b.stamped {
			if b.stamped[i].mapping == m {
				mine = append(mine, &b.stamped[i])
			}
		}
		rows := make(map[*stamp][]problem)
		columns := make(map[*stamp]string)
		written := writtenOutputs(m.Spec)
		for _, a := range m.inputs {
			b.check(a, mine, rows, columns, func(s *stamp, id string) *problem { return b.input(s, a, id) })
		}
		for _, a := range m.outputs {
			b.check(a, mine, rows, columns, func(s *stamp, id string) *problem { return b.output(s, a, id, written) })
		}
		for _, s := range mine {
			b.reportRow(s, rows[s], columns[s])
		}
	}
}

// check binds one address on every machine.
func (b *binder) check(a address, machines []*stamp, rows map[*stamp][]problem, columns map[*stamp]string, bind func(*stamp, string) *problem) {
	failed := map[*stamp]problem{}
	for _, s := range machines {
		if p := bind(s, a.tag(s.machine.Columns)); p != nil {
			failed[s] = *p
		}
	}
	column := a.column()
	if len(failed) == 0 {
		return
	}
	if len(failed) < len(machines) && column != "" {
		for s, p := range failed {
			rows[s] = append(rows[s], p)
			if columns[s] == "" {
				columns[s] = column
			}
		}
		return
	}
	for _, s := range machines { // the first machine stands for all
		p, ok := failed[s]
		if !ok {
			continue
		}
		message := fmt.Sprintf("machine %q: %s", s.machine.Name, p.message)
		if len(failed) > 1 {
			message += fmt.Sprintf("; and the same for %d more", len(failed)-1)
		}
		b.fault(a.at, p.code, message, conf.Near(p.near), conf.Hint("%s", p.hint))
		return
	}
}

func (b *binder) reportRow(s *stamp, problems []problem, column string) {
	if len(problems) == 0 {
		return
	}
	p := problems[0]
	message := fmt.Sprintf("machine %q: %s", s.machine.Name, p.message)
	if len(problems) > 1 {
		message += fmt.Sprintf("; and %d more like it", len(problems)-1)
	}
	b.fault(s.row.Cell(column).Pos, p.code, message, conf.Near(p.near), conf.Hint("%s", p.hint))
}

// column is the first column that the address depends on.
func (a address) column() string {
	for _, x := range a.parts {
		if x.column {
			return x.text
		}
	}
	return ""
}

func (b *binder) input(s *stamp, a address, id string) *problem {
	s.machine.Inputs[a.name] = id
	ref, p := b.find(s, a, id)
	if p == nil && ref.source != "" {
		b.feed(s.machine.Asset, ref.source)
	}
	return p
}

func (b *binder) output(s *stamp, a address, id string, written []string) *problem {
	ref, p := b.find(s, a, id)
	s.machine.Outputs[a.name] = engine.Target{Tag: id, Source: ref.source}
	if p != nil || ref.source == "" || ref.tag.Writable {
		return p
	}
	if name, _, _ := strings.Cut(a.name, "/"); !slices.Contains(written, name) {
		return nil
	}
	return &problem{
		code: CodeReadOnlyTag, message: fmt.Sprintf("tag %q is not marked writable", id),
		hint: "set the column write of the tag list to true, if the PLC lets us write it",
	}
}

// find looks a tag up and checks that it fits; without tag lists everything fits and has no source.
func (b *binder) find(s *stamp, a address, id string) (tagRef, *problem) {
	if !b.tags.known {
		return tagRef{}, nil
	}
	ref, ok := b.tags.byID[id]
	if !ok {
		return ref, &problem{
			code: CodeUnknownTag, message: fmt.Sprintf("no source has a tag %q", id), near: conf.Nearest(id, b.tags.ids),
			hint: "tag lists are the CSV files that tags: of a source names",
		}
	}
	b.used[id] = ref
	asset := ref.tag.Asset
	if asset != s.machine.Asset && !strings.HasPrefix(asset, s.machine.Asset+"/") {
		return ref, &problem{
			code: CodeOtherAsset, message: fmt.Sprintf("tag %q belongs to the asset %q, not to %q", id, asset, s.machine.Asset),
			hint: "a rule reads the tags of its own asset",
		}
	}
	if !typesAgree(ref.tag.Type, a.kind) {
		return ref, &problem{
			code: CodeTagType, message: fmt.Sprintf("tag %q is %s in its tag list, and %s here", id, ref.tag.Type, a.kind),
			hint: "declare the type that the source delivers",
		}
	}
	return ref, nil
}

// typesAgree says whether samples of a tag's type can be read as kind: numbers are exchangeable.
func typesAgree(tag, kind string) bool {
	numbers := []string{"int", "uint", "float"}
	return tag == "" || kind == "" || tag == kind || (slices.Contains(numbers, tag) && slices.Contains(numbers, kind))
}

// writtenOutputs are the outputs that a rule writes; the others are only read by a handshake.
func writtenOutputs(s *engine.Spec) (names []string) {
	for i := range s.Rules {
		r := &s.Rules[i]
		for _, a := range append(append([]engine.Assign(nil), r.Write...), r.Ack...) {
			names = append(names, a.Output.Text)
		}
		if r.Shake != nil && r.Shake.Request != nil {
			names = append(names, r.Shake.Request.Text)
		}
	}
	return names
}
