package engine

import (
	"slices"
)

// step does all that is due at one instant: intervals that end at it, its samples, and what they trigger. What it gives
// comes in the order of the rules in the file.
func (m *machine) step(in *Cause, at, limit int64, out *Effects) {
	m.a.e.store.mark(m.cell)
	r := run{m: m, in: in, out: out}
	m.ticks(&r, at, limit)
	n := 0
	for n < len(m.queue) && m.queue[n].at == at {
		n++
	}
	if n > 0 && at < limit {
		group := m.queue[:n:n]
		if !m.started {
			m.start(at)
		}
		m.instant(&r, at, group)
		clear(m.queue[:n])
		m.queue = m.queue[n:]
	}
	if at < limit {
		m.settled(&r, at)
	}
	m.flush(&r)
}

// start begins a machine's time at its first sample.
func (m *machine) start(at int64) {
	m.started = true
	for i, r := range m.p.rules {
		if rs := &m.rules[i]; r.trigger == byEvery {
			rs.from, rs.tick = at, (floorDiv(at, r.every)+1)*r.every
		}
		m.known(&m.rules[i])
	}
}

// ticks ends the intervals that end at an instant, before its samples count.
func (m *machine) ticks(r *run, at, limit int64) {
	if !m.started {
		return
	}
	for i, d := range m.p.rules {
		rs := &m.rules[i]
		if d.trigger != byEvery || rs.tick != at {
			continue
		}
		m.close(r, d, rs, at)
		horizon := limit
		if len(m.queue) > 0 {
			horizon = min(horizon, m.queue[0].at)
		}
		rs.tick = at + d.every
		if (horizon-at)/d.every > maxEmpty {
			rs.tick = floorDiv(horizon, d.every) * d.every
		}
	}
}

// close ends an interval and begins the next one. An empty interval gives nothing.
func (m *machine) close(r *run, d *ruleDef, rs *ruleState, at int64) {
	from := rs.from
	rs.from = at
	m.a.e.store.mark(rs.cell)
	if from < at {
		m.fire(r, d, &trigger{kind: "interval", at: at, from: from, to: at, before: true, after: noTime})
	} else {
		m.rebase(d, at, true)
	}
}

// instant applies the samples of one instant. Each round holds at most one sample of a tag, so that values that change
// together are seen together.
func (m *machine) instant(r *run, at int64, group []pending) {
	splits := m.splits(group)
	if splits {
		m.old = append(m.old[:0], m.frame.Slots...)
	}
	clear(m.touched)
	for i := range group {
		p := &group[i]
		if slices.ContainsFunc(m.uses[p.tag], func(u int) bool { return m.touched[u] }) {
			m.round(r, at)
			clear(m.touched)
		}
		m.apply(p, group[i+1:], r.out)
	}
	m.round(r, at)
	if splits {
		m.split(r, at)
	}
}

// splits says whether samples may change what an interval is split by.
func (m *machine) splits(group []pending) bool {
	for i := range m.p.rules {
		for j := range m.p.rules[i].splits {
			u := &m.p.rules[i].splits[j].use
			for k := range group {
				for _, use := range m.uses[group[k].tag] {
					if n := len(m.p.inputs); use < n && (slices.Contains(u.inputs, use) || slices.Contains(u.asked, use)) || use >= n && slices.Contains(u.contexts, use-n) {
						return true
					}
				}
			}
		}
	}
	return false
}

// apply gives a sample to the inputs and contexts that its tag feeds.
func (m *machine) apply(p *pending, later []pending, out *Effects) {
	for _, use := range m.uses[p.tag] {
		m.touched[use] = true
		if use < len(m.p.inputs) {
			m.take(use, p, out)
		} else {
			m.adopt(use-len(m.p.inputs), p, later)
		}
	}
}
