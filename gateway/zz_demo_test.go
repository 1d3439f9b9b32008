package gateway

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

func TestZZDemo(t *testing.T) {
	shot := os.Getenv("SHOT")
	if shot == "" {
		return
	}
	epoch = time.Now().Add(-10 * time.Minute)
	w := newWorld(t, limits{}, func(w *world) {
		w.local.Instance = "box/all"
		comp := func(kind, name, st, reason string, c map[string]float64) {
			w.local.Components = append(w.local.Components, &inboxv1.ComponentStatus{Name: name, Kind: kind, State: st, Reason: reason, Since: timestamppb.New(time.Now().Add(-7 * time.Minute)), Counters: c})
		}
		comp("broker", "broker", "running", "", nil)
		comp("kafka", "kafka", "running", "", nil)
		comp("api", "api", "running", "", nil)
		comp("map", "map/0", "running", "", map[string]float64{"events": 0, "input_time_seconds": 0})
		comp("source", "source/line", "running", "", map[string]float64{"samples": 0})
		comp("source", "source/historian", "running", "", map[string]float64{"samples": 0})
		comp("dispatch", "dispatch/0", "running", "", map[string]float64{"orders_dispatched": 4})
		if os.Getenv("CALM") == "" {
			comp("sink", "sink/erp", "down", "the sink refuses or cannot be reached, trying one event at a time; nothing is lost: POST http://127.0.0.1:8490/api/confirmations: 503 Service Unavailable", map[string]float64{"delivered": 0})
			w.local.Components[len(w.local.Components)-1].Held = []*inboxv1.HeldEffect{{Key: "1000007", EffectId: "e", Reason: "no answer within 30 s, and the ERP has no look-up for inspections", Waiting: 12, Since: timestamppb.New(time.Now().Add(-3 * time.Minute))}}
			w.put(w.client.DeadLetterRecord("map", pipeline.DeadLetter{Stage: "map", Code: "RULE_DIVISION_BY_ZERO", Reason: "rule torque of L2 divides by zero in line 23"}, kafka.Cause{Time: time.Now().Add(-90 * time.Second)}))
		} else {
			comp("sink", "sink/erp", "running", "", map[string]float64{"delivered": 0})
		}
		for i, l := range []string{"L1", "L2", "L3", "L9"} {
			id := fmt.Sprint(1000001 + i)
			w.put(w.message("order.v1", id, &eventv1.ProductionOrder{OrderId: id, PlannedQuantity: &eventv1.Quantity{Value: "2400", UnitCode: "C62"}, Operations: []*eventv1.Operation{{OperationId: "0010", WorkCenter: l}}}))
		}
		w.put(w.message("order.v1", "1000005", &eventv1.ProductionOrder{OrderId: "1000005", PlannedQuantity: &eventv1.Quantity{Value: "3000"}, Operations: []*eventv1.Operation{{WorkCenter: "L1"}}}))
		w.put(w.production("old", 100, "PROGRESS", func(e *eventv1.ProductionOrderEvent) { counted("2350", "50")(e); e.OrderId = "1000000" }), w.production("oldc", 110, "COMPLETED", func(e *eventv1.ProductionOrderEvent) { e.OrderId = "1000000"; e.FinalConfirmation = true }))
		w.put(w.message("order.v1", "1000000", &eventv1.ProductionOrder{OrderId: "1000000", PlannedQuantity: &eventv1.Quantity{Value: "2350"}}))
	})
	stop := make(chan struct{})
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(300 * time.Millisecond):
			}
			s := 600 + n/3
			for i, l := range []string{"L1", "L2", "L3", "L9"} {
				id := fmt.Sprint(1000001 + i)
				mk := func(tag string, v pipeline.Value) pipeline.Sample {
					x := sample(l+"/"+tag, s, v)
					x.Seen = time.Now()
					return x
				}
				st := []int64{6, 11, 6, 9}[i]
				ss := []pipeline.Sample{mk("State", pipeline.Int(st)), mk("Order.No", pipeline.Text(id)), mk("Cnt.Good", pipeline.Uint(uint64(65400+n)%65536)), mk("Cnt.Scrap", pipeline.Uint(uint64(12+n/10))), mk("Speed", pipeline.Double(118.37+float64(n%7)))}
				if i == 3 {
					ss = []pipeline.Sample{mk("state", pipeline.Int(st)), mk("order_no", pipeline.Text("9000001")), mk("good", pipeline.Int(31))}
				}
				if i == 2 {
					ss[4].Quality = pipeline.BadSensorFailure
					ss[4].Value = pipeline.Null()
				}
				if i == 0 {
					ss[4].Quality = pipeline.Uncertain
				}
				w.put(w.samples("demo/riverside/bottling/"+l, ss...))
				if i < 3 && n%3 == 0 {
					w.put(w.production(fmt.Sprintf("%s-%d", id, n), s, "PROGRESS", func(e *eventv1.ProductionOrderEvent) {
						counted(fmt.Sprint(40*(3-i)), "1")(e)
						e.OrderId = id
						e.Header.Scope.WorkCenter = l
					}))
					q := &eventv1.QualityEvent{Header: &eventv1.EventHeader{EventId: fmt.Sprintf("q%s-%d", id, n), OccurredAt: timestamppb.New(at(s)), Scope: &eventv1.EquipmentScope{WorkCenter: l}}, Type: 2, OrderId: id, SerialNumbers: []string{fmt.Sprintf("%s-%06d", l, n)}, Verdict: eventv1.Verdict(1 + (n/3+i)%3),
						Results: []*eventv1.CharacteristicResult{{CharacteristicId: "cap_torque", UnitCode: "N.m", Value: &eventv1.Value{Kind: &eventv1.Value_DecimalValue{DecimalValue: "1.934"}}}}}
					if q.Verdict == 3 {
						q.Results[0].Value = nil
					}
					w.put(w.event(pipeline.Event{ID: q.Header.EventId, Type: "QualityEvent", Key: q.SerialNumbers[0], At: at(s)}, q))
				}
			}
			w.mu.Lock()
			w.local.ReportedAt = timestamppb.Now()
			for _, c := range w.local.Components {
				if c.Kind == "source" {
					c.Counters["samples"] += 7
				}
				if c.Kind == "map" {
					c.Counters["events"]++
					c.Counters["input_time_seconds"] = float64(time.Now().UnixMilli())/1000 - 0.8
				}
				if c.Kind == "sink" {
					c.Counters["delivered"]++
				}
			}
			w.mu.Unlock()
		}
	}()
	cmd := exec.Command("node", "/tmp/gw/shot.js", w.http, shot)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	close(stop)
	<-fed
}
