package opcua_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopcua/opcua/ua"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/internal/uaserver"
	"github.com/plantloom/plantloom/pipeline"
)

// controller is the PLC's side of the download block.
type controller struct {
	*rig
	vars map[string]*uaserver.Var
	done chan struct{}
}

// newController serves these variables, all writable but readOnly, and calls react every 5 ms.
func newController(t *testing.T, values map[string]any, readOnly string, react func(c *controller)) *controller {
	t.Helper()
	p := newPlant(t, nil)
	c := &controller{vars: map[string]*uaserver.Var{}, done: make(chan struct{})}
	for name, v := range values {
		c.vars[name] = p.srv.Add(name, uaserver.Variable{Value: v, At: p.at, Writable: true})
		p.tags = append(p.tags, pipeline.Tag{ID: name, Address: "nsu=" + namespace + ";s=" + name, Asset: "a/b/c/L1", Writable: name != readOnly})
	}
	c.rig = newRig(t, p, nil)
	c.rig.config.HandshakePoll = 5 * time.Millisecond
	c.start()
	c.await("there is a session", func() bool { return len(c.sink.samples("")) > 0 })
	if react != nil {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-c.done:
					return
				case <-tick.C:
					react(c)
				}
			}
		}()
		t.Cleanup(func() { close(c.done); <-ended })
	}
	return c
}

func (c *controller) set(name string, v any) { c.vars[name].Set(v, ua.StatusOK, time.Now()) }

func (c *controller) get(name string) any {
	v, _, _ := c.vars[name].Value()
	return v
}

func (c *controller) execute(cmd *inboxv1.Command) *inboxv1.CommandResult {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	res, err := c.source.(pipeline.Commander).Execute(ctx, cmd)
	if err != nil {
		c.t.Fatal(err)
	}
	return res
}

func text(v string) *eventv1.Value {
	return &eventv1.Value{Kind: &eventv1.Value_StringValue{StringValue: v}}
}
func decimal(v string) *eventv1.Value {
	return &eventv1.Value{Kind: &eventv1.Value_DecimalValue{DecimalValue: v}}
}

func download() *inboxv1.Command {
	return &inboxv1.Command{
		CommandId: "c1",
		Writes: []*inboxv1.Write{
			{TagId: "OrderNo", Value: text("4711"), ReadBack: true}, {TagId: "Target", Value: decimal("250"), ReadBack: true},
			{TagId: "Volume", Value: decimal("0.75")},
		},
		Handshake: &inboxv1.Handshake{
			RequestTagId: "Load", AcknowledgeTagId: "Loaded", RefuseTagId: "Refused", CodeTagId: "ErrNo",
			Style: inboxv1.HandshakeStyle_HANDSHAKE_STYLE_LEVEL, WithinNs: int64(500 * time.Millisecond),
		},
	}
}

func block() map[string]any {
	return map[string]any{
		"OrderNo": "", "Target": uint32(0), "Volume": float64(0), "Load": false, "Loaded": false, "Refused": false, "ErrNo": int32(0),
	}
}

// level answers as the PLC does: within a few cycles, and it withdraws its answer with the request.
func levelPLC(refuse int32) func(c *controller) {
	return func(c *controller) {
		if c.get("Load") == false {
			if c.get("Loaded") == true || c.get("Refused") == true {
				c.set("Loaded", false)
				c.set("Refused", false)
				c.set("ErrNo", int32(0))
			}
			return
		}
		if refuse != 0 {
			c.set("Refused", true)
			c.set("ErrNo", refuse)
			return
		}
		c.set("Loaded", true)
	}
}

// R3: the whole group with its handshake, and what was written stands in the result.
func TestADownloadIsWrittenReadBackAndAcknowledged(t *testing.T) {
	t.Parallel()
	c := newController(t, block(), "", levelPLC(0))
	res := c.execute(download())
	if res.GetOutcome() != inboxv1.CommandOutcome_COMMAND_OUTCOME_DONE {
		t.Fatalf("outcome %v", res)
	}
	if diff := cmp.Diff([]string{"OrderNo", "Target", "Volume", "Load"}, res.GetWrittenTagIds()); diff != "" {
		t.Errorf("written tags differ (-want +got):\n%s", diff)
	}
	if c.get("OrderNo") != "4711" || c.get("Target") != uint32(250) || c.get("Volume") != 0.75 || c.get("Load") != false {
		t.Errorf("the block holds %v %v %v %v", c.get("OrderNo"), c.get("Target"), c.get("Volume"), c.get("Load"))
	}
	if res := c.execute(download()); res.GetOutcome() != inboxv1.CommandOutcome_COMMAND_OUTCOME_DONE {
		t.Errorf("a second download: %v", res)
	}
}

func TestTheDevicesRefusalCarriesItsCode(t *testing.T) {
	t.Parallel()
	c := newController(t, block(), "", levelPLC(5))
	res := c.execute(download())
	if res.GetOutcome() != inboxv1.CommandOutcome_COMMAND_OUTCOME_REFUSED || res.GetCode() != "5" {
		t.Errorf("got %v, want REFUSED with code 5", res)
	}
	if c.get("Load") != false {
		t.Error("the request was not taken back")
	}
}

func TestADeviceThatDoesNotAnswerIsATimeoutAndTheRequestIsTakenBack(t *testing.T) {
	t.Parallel()
	c := newController(t, block(), "", nil)
	res := c.execute(download())
	if res.GetOutcome() != inboxv1.CommandOutcome_COMMAND_OUTCOME_TIMEOUT {
		t.Errorf("got %v", res)
	}
	if c.get("Load") != false {
		t.Error("the request was not taken back")
	}
}

// R3: nothing that is not allowed is written, and it is refused before the first write.
func TestNothingIsWrittenWhenAnyPartIsRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*inboxv1.Command)
		code   string
	}{
		"a tag is not writable": {func(c *inboxv1.Command) {
			c.Writes = append(c.Writes, &inboxv1.Write{TagId: "Loaded", Value: text("x")})
		}, "NOT_WRITABLE"},
		"a tag is not in the list":        {func(c *inboxv1.Command) { c.Writes[2].TagId = "Volum" }, "UNKNOWN_TAG"},
		"the request is not writable":     {func(c *inboxv1.Command) { c.Handshake.RequestTagId = "Loaded" }, "NOT_WRITABLE"},
		"a value is too large":            {func(c *inboxv1.Command) { c.Writes[1].Value = decimal("4294967296") }, "VALUE"},
		"a value is negative":             {func(c *inboxv1.Command) { c.Writes[1].Value = decimal("-1") }, "VALUE"},
		"a value has decimals":            {func(c *inboxv1.Command) { c.Writes[1].Value = decimal("1.5") }, "VALUE"},
		"a value is of another type":      {func(c *inboxv1.Command) { c.Writes[1].Value = text("many") }, "VALUE"},
		"a value is missing":              {func(c *inboxv1.Command) { c.Writes[0].Value = nil }, "VALUE"},
		"a value's exponent is malicious": {func(c *inboxv1.Command) { c.Writes[2].Value = decimal("1e999999999") }, "VALUE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newController(t, block(), "Loaded", levelPLC(0))
			cmd := download()
			tc.change(cmd)
			res := c.execute(cmd)
			if res.GetOutcome() != inboxv1.CommandOutcome_COMMAND_OUTCOME_REFUSED || res.GetCode() != tc.code || res.GetMessage() == "" {
				t.Errorf("got %v, want REFUSED with code %s and a message", res, tc.code)
			}
			if n := c.srv.Calls("Write"); n != 0 || len(res.GetWrittenTagIds()) != 0 {
				t.Errorf("%d writes were made, %v are reported", n, res.GetWrittenTagIds())
			}
		})
	}
}

func TestAHandshakeThatIsNotIdleWritesNothing(t *testing.T) {
	t.Parallel()
	values := block()
	values["Loaded"] = true // for ever
	c := newController(t, values, "", nil)
	res := c.execute(download())
	if res.GetOutcome() != inboxv1.CommandOutcome_COMMAND_OUTCOME_REFUSED || res.GetCode() != "NOT_IDLE" || c.srv.Calls("Write") != 0 {
		t.Errorf("got %v after %d writes", res, c.srv.Calls("Write"))
	}
}

func TestARequestLeftByAnInterruptedCommandIsTakenBackFirst(t *testing.T) {
	t.Parallel()
	values := block()
	values["Load"], values["Loaded"] = true, true
	c := newController(t, values, "", levelPLC(0))
	if res := c.execute(download()); res.GetOutcome() != inboxv1.CommandOutcome_COMMAND_OUTCOME_DONE {
		t.Errorf("got %v", res)
	}
}

func TestAValueThatDoesNotStayIsAMismatchAndNothingIsRequested(t *testing.T) {
	t.Parallel()
	c := newController(t, block(), "", nil)
	c.vars["Target"].OnWrite(func(old, _ any) ua.StatusCode { return ua.StatusGoodClamped }) // accepted, and not kept
	res := c.execute(download())
	if res.GetOutcome() != inboxv1.CommandOutcome_COMMAND_OUTCOME_MISMATCH || !strings.Contains(res.GetMessage(), "Target") {
		t.Errorf("got %v", res)
	}
	if slices.Contains(res.GetWrittenTagIds(), "Load") {
		t.Error("the request was set")
	}
}

func TestTheFirstRefusedWriteEndsTheGroup(t *testing.T) {
	t.Parallel()
	c := newController(t, block(), "", levelPLC(0))
	c.vars["Target"].OnWrite(func(_, _ any) ua.StatusCode { return ua.StatusBadOutOfRange })
	res := c.execute(download())
	if res.GetOutcome() != inboxv1.CommandOutcome_COMMAND_OUTCOME_REFUSED || res.GetCode() != "BadOutOfRange" {
		t.Errorf("got %v", res)
	}
	if diff := cmp.Diff([]string{"OrderNo"}, res.GetWrittenTagIds()); diff != "" {
		t.Errorf("written tags differ (-want +got):\n%s", diff)
	}
}

func TestOtherStylesOfHandshake(t *testing.T) {
	t.Parallel()
	follow := func(c *controller) {
		if c.get("Req") != c.get("Ack") {
			c.set("Ack", c.get("Req"))
		}
	}
	refuse := func(c *controller) {
		if c.get("Req") != c.get("Nak") {
			c.set("Code", int32(7))
			c.set("Nak", c.get("Req"))
		}
	}
	const toggle, sequence = inboxv1.HandshakeStyle_HANDSHAKE_STYLE_TOGGLE, inboxv1.HandshakeStyle_HANDSHAKE_STYLE_SEQUENCE
	const done, refused = inboxv1.CommandOutcome_COMMAND_OUTCOME_DONE, inboxv1.CommandOutcome_COMMAND_OUTCOME_REFUSED
	for name, tc := range map[string]struct {
		style   inboxv1.HandshakeStyle
		first   any
		react   func(*controller)
		want    inboxv1.CommandOutcome
		request any
	}{
		"a toggle is followed":                  {toggle, true, follow, done, false},
		"a toggle is refused":                   {toggle, false, refuse, refused, true},
		"a number is taken":                     {sequence, uint16(41), follow, done, uint16(42)},
		"a number is refused":                   {sequence, uint16(41), refuse, refused, uint16(42)},
		"after the largest number comes 1":      {sequence, uint16(65535), follow, done, uint16(1)},
		"a number that nobody takes times out":  {sequence, int32(1), nil, inboxv1.CommandOutcome_COMMAND_OUTCOME_TIMEOUT, int32(2)},
		"a toggle that nobody follows time out": {toggle, false, nil, inboxv1.CommandOutcome_COMMAND_OUTCOME_TIMEOUT, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newController(t, map[string]any{"Req": tc.first, "Ack": tc.first, "Nak": tc.first, "Code": int32(0)}, "", tc.react)
			res := c.execute(&inboxv1.Command{Handshake: &inboxv1.Handshake{
				RequestTagId: "Req", AcknowledgeTagId: "Ack", RefuseTagId: "Nak", CodeTagId: "Code", Style: tc.style, WithinNs: int64(300 * time.Millisecond),
			}})
			if res.GetOutcome() != tc.want || c.get("Req") != tc.request {
				t.Errorf("got %v with request %v, want %v with %v", res, c.get("Req"), tc.want, tc.request)
			}
			if tc.want == refused && res.GetCode() != "7" {
				t.Errorf("code %q, want 7", res.GetCode())
			}
		})
	}
}

func TestWithoutASessionNothingIsWrittenAndTheCallerMayTryAgain(t *testing.T) {
	t.Parallel()
	c := newController(t, block(), "", nil)
	c.srv.Refuse(true)
	c.srv.DropConnections()
	c.await("Run ended", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return len(c.errs) > 0 })
	if _, err := c.source.(pipeline.Commander).Execute(t.Context(), download()); !errors.Is(err, pipeline.ErrNotConnected) {
		t.Errorf("got %v, want ErrNotConnected", err)
	}
}

func TestAnAnswerArrivesOverAConnectionThatWasCutInBetween(t *testing.T) {
	t.Parallel()
	values := block()
	var cut bool
	c := newController(t, values, "", func(c *controller) {
		if c.get("Load") == true && !cut {
			cut = true
			c.srv.DropConnections()
			return
		}
		levelPLC(0)(c)
	})
	cmd := download()
	cmd.Handshake.WithinNs = int64(5 * time.Second)
	if res := c.execute(cmd); res.GetOutcome() != inboxv1.CommandOutcome_COMMAND_OUTCOME_DONE {
		t.Errorf("got %v", res)
	}
}

func TestAWriteWithoutAnAnswerIsReadBackAndNeverRepeated(t *testing.T) {
	t.Parallel()
	const done, unknown = inboxv1.CommandOutcome_COMMAND_OUTCOME_DONE, inboxv1.CommandOutcome_COMMAND_OUTCOME_UNKNOWN
	for name, tc := range map[string]struct {
		keeps, idempotent bool
		want              inboxv1.CommandOutcome
		fails             bool
	}{
		"it is there":     {keeps: true, want: done},
		"it is not there": {want: unknown},
		"it is not there, and the caller may retry": {idempotent: true, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newController(t, map[string]any{"Ack": ""}, "", nil)
			if !tc.keeps {
				c.vars["Ack"].OnWrite(func(_, _ any) ua.StatusCode { return ua.StatusGoodClamped })
			}
			c.srv.Inject(func(service string, _ int) *uaserver.Fault {
				if service == "Write" {
					return &uaserver.Fault{Drop: true}
				}
				return nil
			})
			stop := time.AfterFunc(200*time.Millisecond, c.srv.DropConnections)
			defer stop.Stop()
			res, err := c.source.(pipeline.Commander).Execute(t.Context(), &inboxv1.Command{
				Idempotent: tc.idempotent, Writes: []*inboxv1.Write{{TagId: "Ack", Value: text("4711")}},
			})
			if (err != nil) != tc.fails || res.GetOutcome() != tc.want {
				t.Errorf("got %v, %v, want %v", res, err, tc.want)
			}
			if n := c.srv.Calls("Write"); n != 1 {
				t.Errorf("%d writes were sent, want 1", n)
			}
		})
	}
}

// Every type that a controller has takes its values exactly.
func TestValuesAreConvertedToTheNodesType(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 4, 5, 6, 7, 800, time.UTC)
	boolean := &eventv1.Value{Kind: &eventv1.Value_BoolValue{BoolValue: true}}
	list := &eventv1.Value{Kind: &eventv1.Value_ListValue{ListValue: &eventv1.ValueList{Values: []*eventv1.Value{decimal("1"), decimal("2")}}}}
	for name, tc := range map[string]struct {
		node any
		give *eventv1.Value
		want any // nil: refused
	}{
		"SByte":                    {int8(0), decimal("-128"), int8(-128)},
		"Byte":                     {uint8(0), decimal("255"), uint8(255)},
		"Byte, too large":          {uint8(0), decimal("256"), nil},
		"Int16":                    {int16(0), decimal("-32768"), int16(-32768)},
		"UInt16":                   {uint16(0), decimal("65535.0"), uint16(65535)},
		"Int32":                    {int32(0), decimal("2147483647"), int32(2147483647)},
		"Int64":                    {int64(0), decimal("-9223372036854775808"), int64(-9223372036854775808)},
		"Int64, too large":         {int64(0), decimal("9223372036854775808"), nil},
		"UInt64":                   {uint64(0), decimal("18446744073709551615"), uint64(18446744073709551615)},
		"Float":                    {float32(0), decimal("0.1"), float32(0.1)},
		"Float, too large":         {float32(0), decimal("9" + strings.Repeat("0", 39)), nil},
		"Double":                   {float64(0), decimal("0.1"), 0.1},
		"Boolean":                  {false, boolean, true},
		"Boolean from a number":    {false, decimal("1"), nil},
		"String":                   {"", text("Größe"), "Größe"},
		"String from a number":     {"", decimal("0017"), "0017"},
		"DateTime":                 {time.Now(), &eventv1.Value{Kind: &eventv1.Value_TimeValue{TimeValue: timestamppb.New(at)}}, at},
		"a list":                   {[]int32{0}, list, []int32{1, 2}},
		"a list for a single node": {int32(0), list, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newController(t, map[string]any{"V": tc.node}, "", nil)
			res := c.execute(&inboxv1.Command{ReadBack: true, Writes: []*inboxv1.Write{{TagId: "V", Value: tc.give}}})
			if tc.want == nil {
				if res.GetOutcome() != inboxv1.CommandOutcome_COMMAND_OUTCOME_REFUSED || res.GetCode() != "VALUE" {
					t.Errorf("got %v, want it refused", res)
				}
				return
			}
			if res.GetOutcome() != inboxv1.CommandOutcome_COMMAND_OUTCOME_DONE {
				t.Fatalf("got %v", res)
			}
			if diff := cmp.Diff(tc.want, c.get("V")); diff != "" {
				t.Errorf("the node differs (-want +got):\n%s", diff)
			}
		})
	}
}
