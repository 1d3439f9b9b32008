package uaserver

import (
	"math"
	"reflect"

	"github.com/gopcua/opcua/ua"
)

// filter accepts a DataChangeFilter without percent deadband: no variable has
// an EURange.
func (it *item) filter(f *ua.ExtensionObject) ua.StatusCode {
	if f == nil || f.Value == nil {
		if f != nil && f.EncodingMask != ua.ExtensionObjectEmpty {
			return ua.StatusBadMonitoredItemFilterInvalid
		}
		return ua.StatusOK
	}
	d, ok := f.Value.(*ua.DataChangeFilter)
	switch {
	case !ok:
		return ua.StatusBadMonitoredItemFilterUnsupported
	case it.node == nil:
		return ua.StatusBadFilterNotAllowed
	case d.Trigger > ua.DataChangeTriggerStatusValueTimestamp || d.DeadbandType > uint32(ua.DeadbandTypePercent):
		return ua.StatusBadMonitoredItemFilterInvalid
	case d.DeadbandType == uint32(ua.DeadbandTypePercent):
		return ua.StatusBadMonitoredItemFilterUnsupported
	case d.DeadbandType == uint32(ua.DeadbandTypeAbsolute):
		if _, numeric := number(it.node.cur); !numeric {
			return ua.StatusBadFilterNotAllowed
		}
		if d.DeadbandValue < 0 || math.IsNaN(d.DeadbandValue) {
			return ua.StatusBadDeadbandFilterInvalid
		}
		it.deadband = d.DeadbandValue
	}
	it.trigger = d.Trigger
	return ua.StatusOK
}

// triggered tells whether the item's data change filter lets dv pass after old
// (Part 4, 7.22.2).
func (it *item) triggered(old, dv *ua.DataValue) bool {
	if old.Status != dv.Status {
		return true
	}
	if it.trigger == ua.DataChangeTriggerStatus {
		return false
	}
	if it.trigger == ua.DataChangeTriggerStatusValueTimestamp && !old.SourceTimestamp.Equal(dv.SourceTimestamp) {
		return true
	}
	if it.deadband > 0 {
		a, okA := number(old)
		b, okB := number(dv)
		if okA && okB {
			return math.Abs(a-b) > it.deadband
		}
	}
	return !sameValue(old.Value, dv.Value)
}

func number(dv *ua.DataValue) (float64, bool) {
	if dv.Value == nil || isArray(dv.Value) {
		return 0, false
	}
	switch dv.Value.Type() {
	case ua.TypeIDSByte, ua.TypeIDInt16, ua.TypeIDInt32, ua.TypeIDInt64:
		return float64(dv.Value.Int()), true
	case ua.TypeIDByte, ua.TypeIDUint16, ua.TypeIDUint32, ua.TypeIDUint64:
		return float64(dv.Value.Uint()), true
	case ua.TypeIDFloat, ua.TypeIDDouble:
		return dv.Value.Float(), true
	}
	return 0, false
}

// sameValue tells whether two values are equal for a data change trigger.
func sameValue(a, b *ua.Variant) bool {
	return reflect.DeepEqual(a.Value(), b.Value())
}
