package line

// Def describes a tag.
type Def struct {
	Name        string // "L1.Cnt.Good"
	Zero        any    // type and first value
	Writable    bool
	Description string

	part string // "Cnt.Good"
}

// Defs lists the tags of a line.
func Defs(name string) []Def {
	defs := []Def{
		{part: "State", Zero: Idle, Description: "PackML state number"},
		{part: "Speed", Zero: 0.0, Description: "bottles per minute"},
		{part: "Cnt.Good", Zero: uint16(0), Description: "good bottles, rolls over after 65535"},
		{part: "Cnt.Scrap", Zero: uint16(0), Description: "rejected bottles, rolls over after 65535"},
		{part: "Order.No", Zero: "", Description: "order in the block, empty when none"},
		{part: "Order.Operation", Zero: "", Description: "operation of that order"},
		{part: "Order.Good", Zero: uint32(0), Description: "good bottles of that order"},
		{part: "Order.Scrap", Zero: uint32(0), Description: "rejected bottles of that order"},
		{part: "Order.Done", Zero: false, Description: "the order is complete, totals are final"},
		{part: "Order.AckNo", Zero: "", Writable: true, Description: "acknowledges the order of that number"},
		{part: "Cmd.OrderNo", Zero: "", Writable: true, Description: "download: order number"},
		{part: "Cmd.Operation", Zero: "", Writable: true, Description: "download: operation"},
		{part: "Cmd.Target", Zero: uint32(0), Writable: true, Description: "download: good bottles to make"},
		{part: "Cmd.Material", Zero: "", Writable: true, Description: "download: material"},
		{part: "Cmd.FillVolume", Zero: 0.0, Writable: true, Description: "download: fill volume in l, 0.1 to 2.0"},
		{part: "Cmd.CapTorque", Zero: 0.0, Writable: true, Description: "download: cap torque in [lbf_av].[in_i], 10 to 25"},
		{part: "Cmd.Load", Zero: false, Writable: true, Description: "download: request, level"},
		{part: "Cmd.Loaded", Zero: false, Description: "download: accepted, until Load is false"},
		{part: "Cmd.Refused", Zero: false, Description: "download: refused, until Load is false"},
		{part: "Cmd.ErrNo", Zero: int32(0), Description: "why refused: 1 no number, 2 no slot, 3 produced, 4 target, 5 recipe"},
		{part: "Cap.Ready", Zero: false, Description: "capping station: a result is ready"},
		{part: "Cap.Serial", Zero: "", Description: "capping station: serial of the bottle"},
		{part: "Cap.Torque", Zero: 0.0, Description: "capping station: torque in [lbf_av].[in_i]"},
		{part: "Cap.AckSerial", Zero: "", Writable: true, Description: "acknowledges the result of that serial"},
	}
	for i := range defs {
		defs[i].Name = name + "." + defs[i].part
	}
	return defs
}
