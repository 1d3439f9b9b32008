package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/inbox"
)

// src is text at the beginning of a line of its own, so that columns are offsets plus one.
func src(text string) Source {
	return Source{Text: text, At: func(o int) Pos { return Pos{File: text, Line: 1, Column: o + 1} }}
}

func ptr(text string) *Source { s := src(text); return &s }

func formulaNode(text string) Node { return Node{Formula: ptr(text)} }

func literalNode(text string) Node { return Node{Literal: &Literal{Source: src(text)}} }

// set makes fields of "name=formula" and "name: literal".
func set(entries ...string) (out []Field) {
	for _, e := range entries {
		if name, f, ok := strings.Cut(e, "="); ok && !strings.Contains(name, ": ") {
			out = append(out, Field{Name: src(name), Value: formulaNode(f)})
			continue
		}
		name, l, _ := strings.Cut(e, ": ")
		out = append(out, Field{Name: src(name), Value: literalNode(l)})
	}
	return out
}

func must(t testing.TB, s *Spec) *Program {
	t.Helper()
	p, faults := Compile(s)
	for _, f := range faults {
		if !f.Warning {
			t.Fatalf("%s: %+v", s.Name, f)
		}
	}
	return p
}

// pressSpec is the press of the design: counters become progress and completion.
func pressSpec() *Spec {
	counter := func(name string) Input {
		return Input{Name: src(name), Type: "int", MaxRate: 50, Unit: src("C62"), Counter: &Counter{Max: 65535, MaxGap: time.Minute, Slack: 1}}
	}
	return &Spec{
		Name:     "press",
		Columns:  []Column{{src("plc"), "text"}, {src("work_center"), "text"}},
		Inputs:   []Input{counter("good"), counter("scrap"), {Name: src("done"), Type: "bool"}},
		Contexts: []Context{{Name: src("order"), Type: "text", MinStable: 2 * time.Second}},
		Rules: []Rule{
			{
				Name: src("progress"), Every: time.Minute, Split: []Source{src("order")}, If: ptr(`order != ""`), Emit: ptr("ProductionOrderEvent"), Key: ptr("order"),
				Set: set("type: PROGRESS", "order_id=order", "operation_id=operation.id", "header.scope.work_center=m.work_center", "delta.good=delta(good)", "delta.scrap=delta(scrap)", "interval_end=event_time"),
			},
			{
				Name: src("complete"), When: ptr("done"), Emit: ptr("ProductionOrderEvent"), Key: ptr("order"),
				Set: set("type: COMPLETED", "order_id=order", "operation_id=operation.id", "final_confirmation: true"),
			},
		},
	}
}

func torqueSpec() *Spec {
	results := Node{Items: []Node{{Fields: append(set("characteristic_id: torque", "value=round(nm, 3)", "unit_code: NU"),
		Field{Name: src("limits"), Value: Node{Fields: set("lower_specification=m.lsl", "upper_specification=m.usl")}})}}}
	return &Spec{
		Name:    "torque",
		Columns: []Column{{src("plc"), "text"}, {src("lsl"), "float"}, {src("usl"), "float"}},
		Inputs: []Input{
			{Name: src("done"), Type: "bool"}, {Name: src("serial"), Type: "text"},
			{Name: src("torque"), Type: "float", Unit: src("[lbf_av].[in_i]"), Bad: BadOmit},
		},
		Outputs: []Output{{Name: src("result_ack"), Type: "bool"}},
		Rules: []Rule{{
			Name: src("inspection"), When: ptr("done"), Settle: 200 * time.Millisecond, If: ptr(`serial != ""`),
			Let:  []Let{{src("nm"), src(`convert(torque, "N.m")`)}},
			Emit: ptr("QualityEvent"), Key: ptr("serial"),
			Set: append(set("type: RESULT_RECORDED", "serial_numbers=[serial]",
				`verdict=if not ok(torque) { "NOT_DECIDABLE" } else if nm < m.lsl or nm > m.usl { "FAIL" } else { "PASS" }`), Field{Name: src("results"), Value: results}),
			Ack: []Assign{{src("result_ack"), literalNode("true")}},
		}},
	}
}

func number64(v float64) *float64 { return &v }

func downloadSpec() *Spec {
	return &Spec{
		Name:    "download",
		Columns: []Column{{src("plc"), "text"}},
		Outputs: []Output{
			{Name: src("order_no"), Type: "text", MaxLen: 10, ReadBack: true},
			{Name: src("target"), Type: "int", Unit: src("C62"), Min: number64(0), Max: number64(100000), ReadBack: true},
			{Name: src("recipe"), ReadBack: true, Table: []Parameter{
				{Name: "Speed", Type: "float", Unit: "m/min", Max: number64(100), Required: true}, {Name: "Program", Type: "text", MaxLen: 4},
			}},
			{Name: src("load"), Type: "bool"}, {Name: src("loaded"), Type: "bool"}, {Name: src("refused"), Type: "bool"}, {Name: src("err_no"), Type: "int"},
		},
		Rules: []Rule{
			{
				Name: src("download"), Receive: &Receive{What: src("Operation"), Verbs: []Source{src("new"), src("changed")}},
				Write: []Assign{
					{src("order_no"), formulaNode("e.order.order_id")}, {src("target"), formulaNode("e.planned_quantity")}, {src("recipe"), formulaNode("e.parameters")},
				},
				Shake:   &Handshake{Request: ptr("load"), Ack: ptr("loaded"), Nack: ptr("refused"), Code: ptr("err_no"), Style: "level", Within: 10 * time.Second},
				Expires: 30 * time.Second, Emit: ptr("ProductionOrderEvent"), Key: ptr("e.order.order_id"),
				Set: set("order_id=e.order.order_id", "operation_id=e.operation_id", `type=outcome == "DONE" ? "DOWNLOADED" : "DOWNLOAD_FAILED"`, "reason_code=outcome", "reason_text=code"),
			},
			{
				Name: src("withdrawn"), Receive: &Receive{What: src("Operation"), Verbs: []Source{src("cancelled")}}, Emit: ptr("ProductionOrderEvent"), Key: ptr("e.order.order_id"),
				Set: set("type: CANCELLED", "order_id=e.order.order_id", "operation_id=e.id", "reason_text=old.order.material_id"),
			},
		},
	}
}

const assetPath = "acme/north/hall3/P1"

// machineOf stamps a spec out: each input's tag is machine/name, each output's tag machine/name at source line.
func machineOf(s *Spec, name, path string, columns map[string]pipeline.Value) Machine {
	m := Machine{Name: name, Asset: path, Columns: map[string]pipeline.Value{"name": pipeline.Text(name), "asset": pipeline.Text(path)}, Inputs: map[string]string{}, Outputs: map[string]Target{}, Sources: []string{"line"}}
	for k, v := range columns {
		m.Columns[k] = v
	}
	for _, in := range s.Inputs {
		m.Inputs[in.Name.Text] = name + "/" + in.Name.Text
	}
	for _, c := range s.Contexts {
		m.Inputs[c.Name.Text] = name + "/" + c.Name.Text
	}
	for _, o := range s.Outputs {
		m.Outputs[o.Name.Text] = Target{name + "/" + o.Name.Text, "line"}
		for _, row := range o.Table {
			m.Outputs[o.Name.Text+"/"+row.Name] = Target{name + "/" + row.Name, "line"}
		}
	}
	return m
}

var start = time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC)

// world is a log and the engine that reads it.
type world struct {
	t      testing.TB
	bound  []Bound
	e      *Engine
	out    Effects
	log    []Cause
	config Config
}

func newWorld(t testing.TB, bound ...Bound) *world {
	t.Helper()
	w := &world{t: t, bound: bound, config: Config{Site: "north", Digest: "d1"}}
	w.e = w.engine()
	return w
}

func (w *world) engine() *Engine {
	w.t.Helper()
	e, err := New(w.config, w.bound)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// world of one machine P1 of a spec.
func one(t testing.TB, s *Spec, columns map[string]pipeline.Value) *world {
	t.Helper()
	return newWorld(t, Bound{must(t, s), machineOf(s, "P1", assetPath, columns)})
}

func at(d time.Duration) time.Time { return start.Add(d) }

// reading is a sample of a tag at a time after start; a Quality as value is a bad reading.
type reading struct {
	at    time.Duration
	tag   string
	value any
}

func sampleOf(r reading) pipeline.Sample {
	s := pipeline.Sample{Tag: r.tag, At: at(r.at), Seen: at(r.at)}
	switch v := r.value.(type) {
	case int:
		s.Value = pipeline.Int(int64(v))
	case float64:
		s.Value = pipeline.Double(v)
	case bool:
		s.Value = pipeline.Bool(v)
	case string:
		s.Value = pipeline.Text(v)
	case pipeline.Quality:
		s.Quality = v
	case pipeline.Value:
		s.Value = v
	case pipeline.Sample:
		s.Value, s.Quality, s.Flags, s.Position, s.Ordinal, s.Op = v.Value, v.Quality, v.Flags, v.Position, v.Ordinal, v.Op
	}
	return s
}

func batchOf(path, session string, watermark time.Time, samples ...pipeline.Sample) *inboxv1.InboxRecord {
	b := pipeline.Batch{Session: session, State: pipeline.StateLive, Watermark: watermark}
	return inbox.Encode("line", b, samples, func(string) inbox.Meta { return inbox.Meta{Asset: path} })
}

func heartbeat(source string, watermark time.Time, state inboxv1.SourceState) *inboxv1.InboxRecord {
	return &inboxv1.InboxRecord{Kind: &inboxv1.InboxRecord_Heartbeat{Heartbeat: &inboxv1.Heartbeat{SourceId: source, WatermarkNs: watermark.UnixNano(), State: state}}}
}

// add appends a record to the log and applies it.
func (w *world) add(key string, when time.Duration, r *inboxv1.InboxRecord) {
	w.log = append(w.log, Cause{Record: r, Key: key, Offset: int64(len(w.log)), At: at(when)})
	w.e.Apply(w.log[len(w.log)-1], &w.out)
}

// read appends readings, each with its own record, and each with a heartbeat that it pushes.
func (w *world) read(readings ...reading) {
	for _, r := range readings {
		w.add(assetPath, r.at, batchOf(assetPath, "s1", at(r.at), sampleOf(r)))
	}
}

// upto lets the watermark pass an instant.
func (w *world) upto(d time.Duration) {
	w.add("line", d+2*time.Second, heartbeat("line", at(d+2*time.Second), inboxv1.SourceState_SOURCE_STATE_LIVE))
}

func production(t testing.TB, e Emitted) *eventv1.ProductionOrderEvent {
	t.Helper()
	m := &eventv1.ProductionOrderEvent{}
	if err := proto.Unmarshal(e.Body, m); err != nil {
		t.Fatal(err)
	}
	return m
}

func inspection(t testing.TB, e Emitted) *eventv1.QualityEvent {
	t.Helper()
	m := &eventv1.QualityEvent{}
	if err := proto.Unmarshal(e.Body, m); err != nil {
		t.Fatal(err)
	}
	return m
}

// told renders production events in a line each: rule, event time, order, deltas.
func (w *world) told() (lines []string) {
	for _, e := range w.out.Events {
		if e.Type != "ProductionOrderEvent" {
			lines = append(lines, fmt.Sprintf("%s %s", e.Rule, e.At.Sub(start)))
			continue
		}
		m := production(w.t, e)
		line := fmt.Sprintf("%s %s %s", e.Rule, e.At.Sub(start), m.GetOrderId())
		if d := m.GetDelta(); d != nil {
			line += fmt.Sprintf(" %s/%s", d.GetGood().GetValue(), d.GetScrap().GetValue())
		}
		lines = append(lines, line)
	}
	return lines
}

func operationRecord(order, material, quantity string, revision uint64, withdrawn bool, parameters ...*eventv1.Parameter) *inboxv1.InboxRecord {
	op := &eventv1.Operation{OperationId: "0010", PlannedQuantity: &eventv1.Quantity{Value: quantity, UnitCode: "C62"}, Parameters: parameters}
	return &inboxv1.InboxRecord{Kind: &inboxv1.InboxRecord_Operation{Operation: &inboxv1.DispatchedOperation{
		Order:       &eventv1.ProductionOrder{OrderId: order, MaterialId: material, Version: revision, Operations: []*eventv1.Operation{op}},
		OperationId: "0010", Revision: revision, Withdrawn: withdrawn,
	}}}
}

func parameter(id, value, unit string) *eventv1.Parameter {
	return &eventv1.Parameter{Id: id, UnitCode: unit, Value: &eventv1.Value{Kind: &eventv1.Value_DecimalValue{DecimalValue: value}}}
}

func textParameter(id, value string) *eventv1.Parameter {
	return &eventv1.Parameter{Id: id, Value: &eventv1.Value{Kind: &eventv1.Value_StringValue{StringValue: value}}}
}

func resultRecord(c *inboxv1.Command, outcome inboxv1.CommandOutcome, code string) *inboxv1.InboxRecord {
	return &inboxv1.InboxRecord{Kind: &inboxv1.InboxRecord_CommandResult{CommandResult: &inboxv1.CommandResult{
		CommandId: c.GetCommandId(), CorrelationId: c.GetCorrelationId(), AssetPath: c.GetAssetPath(), Outcome: outcome, Code: code,
	}}}
}
