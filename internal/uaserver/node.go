package uaserver

import (
	"fmt"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"
)

// tick is the resolution of an OPC UA DateTime. Source times are cut to it, so
// that what clients see and what they ask history for are the same instants.
const tick = 100 * time.Nanosecond

// Variable describes a variable and its first value.
type Variable struct {
	// Value is a Go value of an OPC UA built-in type (bool, int32, float64,
	// string, ...) or a slice of one. It fixes the data type for good.
	Value any
	// Status and At are the first value's quality and source time. A zero At
	// sends no source timestamp.
	Status ua.StatusCode
	At     time.Time
	// Writable lets clients write.
	Writable bool
	// Historize hands every value to the history store.
	Historize bool
	// Description is the node's Description attribute.
	Description string
}

// Var is a variable of the server. Its methods may be called from any
// goroutine.
type Var struct {
	s        *Server
	name     string
	id       *ua.NodeID
	key      string
	typ      ua.TypeID
	array    bool
	writable bool
	history  bool
	desc     string
	dataType *ua.NodeID
	read     func() any // for nodes whose value is computed at each read

	// guarded by Server.mu
	cur     *ua.DataValue
	onWrite func(old, new any) ua.StatusCode
	items   map[*item]struct{}
}

// Name returns the name given to Add; it is also the node's string identifier.
func (v *Var) Name() string { return v.name }

// NodeID returns the node id on this server.
func (v *Var) NodeID() *ua.NodeID { return v.id }

// OnWrite installs a hook that decides on a client's write. It runs outside
// the server's lock. When it returns Good the server applies the value with
// the current time as source time.
func (v *Var) OnWrite(f func(old, new any) ua.StatusCode) {
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	v.onWrite = f
}

// Set gives the variable a new value, quality and source time. A nil value is
// a null value, which only a Bad status may carry. Set panics when the type
// differs from the first value's.
func (v *Var) Set(value any, status ua.StatusCode, at time.Time) {
	v.s.Update(func(tx *Tx) { tx.Set(v, value, status, at) })
}

// Value returns the current value, quality and source time.
func (v *Var) Value() (any, ua.StatusCode, time.Time) {
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	return v.cur.Value.Value(), v.cur.Status, v.cur.SourceTimestamp
}

// Tx is an update of several variables that no publish can split or reorder
// (a client's limit on notifications per message can cut it in two messages).
type Tx struct {
	s   *Server
	now time.Time
}

// Update calls f with the server locked; what f sets becomes visible at once
// and in order. f must not call other methods of the server.
func (s *Server) Update(f func(tx *Tx)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&Tx{s: s, now: s.opts.Now()})
}

// Set is Var.Set inside an Update.
func (tx *Tx) Set(v *Var, value any, status ua.StatusCode, at time.Time) {
	dv := v.dataValue(value, status, at, tx.now)
	v.cur = dv
	tx.s.changed++
	if v.history && tx.s.opts.History != nil {
		tx.s.opts.History.Append(v.name, dv)
	}
	for it := range v.items {
		it.change(dv, tx.s.changed, tx.now)
	}
}

// dataValue builds the value; it is immutable from here on.
func (v *Var) dataValue(value any, status ua.StatusCode, at, now time.Time) *ua.DataValue {
	variant := &ua.Variant{}
	if value != nil {
		variant = ua.MustVariant(value)
		if variant.Type() != v.typ || isArray(variant) != v.array {
			panic(fmt.Sprintf("uaserver: %s is a %v, not a %T", v.name, v.typ, value))
		}
	} else if !bad(status) {
		panic(fmt.Sprintf("uaserver: %s: a null value needs a Bad status", v.name))
	}
	dv := &ua.DataValue{Value: variant, Status: status, SourceTimestamp: at.UTC().Truncate(tick), ServerTimestamp: now}
	dv.UpdateMask()
	if value == nil {
		dv.EncodingMask &^= ua.DataValueValue
	}
	return dv
}

func isArray(v *ua.Variant) bool { return v.Has(ua.VariantArrayValues) }

// Add creates a variable with the node id ns=<NamespaceURI>;s=<name>. Dots in
// the name make folders when browsing. Add panics when the name exists or the
// value's type is none of OPC UA's.
func (s *Server) Add(name string, first Variable) *Var {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names[name] != nil {
		panic(fmt.Sprintf("uaserver: %s exists already", name))
	}
	variant := ua.MustVariant(first.Value)
	v := &Var{
		s: s, name: name, id: ua.NewStringNodeID(s.ns, name),
		typ: variant.Type(), array: isArray(variant), writable: first.Writable,
		history: first.Historize, desc: first.Description, items: map[*item]struct{}{},
	}
	v.dataType = ua.NewNumericNodeID(0, uint32(v.typ))
	v.key = v.id.String()
	now := s.opts.Now()
	v.cur = v.dataValue(first.Value, first.Status, first.At, now)
	if v.history && s.opts.History != nil && !first.At.IsZero() {
		s.opts.History.Append(name, v.cur)
	}
	s.names[name] = v
	s.nodes[v.key] = v
	s.tree.add(name, v)
	return v
}

// Var returns the variable of that name, or nil.
func (s *Server) Var(name string) *Var {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[name]
}

// Remove deletes a variable. Monitored items on it report BadNodeIdUnknown
// once and then nothing.
func (s *Server) Remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.names[name]
	if v == nil {
		return
	}
	delete(s.names, name)
	delete(s.nodes, v.key)
	s.tree.remove(name)
	now := s.opts.Now()
	gone := v.dataValue(nil, ua.StatusBadNodeIDUnknown, now, now)
	s.changed++
	for it := range v.items {
		it.change(gone, s.changed, now)
	}
	v.items = map[*item]struct{}{}
}

// current returns the value of stored and computed nodes alike. The caller
// holds Server.mu.
func (v *Var) current(now time.Time) *ua.DataValue {
	if v.read == nil {
		return v.cur
	}
	dv := &ua.DataValue{Value: ua.MustVariant(v.read()), SourceTimestamp: now, ServerTimestamp: now}
	dv.UpdateMask()
	return dv
}

// stamped returns dv with the timestamps that the client asked for.
func stamped(dv *ua.DataValue, which ua.TimestampsToReturn) *ua.DataValue {
	drop := byte(0)
	switch which {
	case ua.TimestampsToReturnSource:
		drop = ua.DataValueServerTimestamp
	case ua.TimestampsToReturnServer:
		drop = ua.DataValueSourceTimestamp
	case ua.TimestampsToReturnNeither:
		drop = ua.DataValueServerTimestamp | ua.DataValueSourceTimestamp
	}
	if drop == 0 {
		return dv
	}
	out := *dv
	out.EncodingMask &^= drop
	return &out
}

// badValue is the DataValue of an attribute that cannot be read.
func badValue(code ua.StatusCode, now time.Time) *ua.DataValue {
	return &ua.DataValue{
		EncodingMask: ua.DataValueStatusCode | ua.DataValueServerTimestamp,
		Status:       code, ServerTimestamp: now,
	}
}

// attribute reads one attribute. The caller holds Server.mu.
func (v *Var) attribute(a ua.AttributeID, now time.Time) (*ua.DataValue, ua.StatusCode) {
	var value any
	switch a {
	case ua.AttributeIDValue:
		return v.current(now), ua.StatusOK
	case ua.AttributeIDNodeID:
		value = v.id
	case ua.AttributeIDNodeClass:
		value = int32(ua.NodeClassVariable)
	case ua.AttributeIDBrowseName:
		value = &ua.QualifiedName{NamespaceIndex: v.id.Namespace(), Name: lastPart(v.name)}
	case ua.AttributeIDDisplayName:
		value = ua.NewLocalizedText(lastPart(v.name))
	case ua.AttributeIDDescription:
		value = ua.NewLocalizedText(v.desc)
	case ua.AttributeIDDataType:
		value = v.dataType
	case ua.AttributeIDValueRank:
		value = int32(-1)
		if v.array {
			value = int32(1)
		}
	case ua.AttributeIDAccessLevel, ua.AttributeIDUserAccessLevel:
		value = v.access()
	case ua.AttributeIDWriteMask, ua.AttributeIDUserWriteMask:
		value = uint32(0)
	case ua.AttributeIDHistorizing:
		value = v.history
	case ua.AttributeIDMinimumSamplingInterval:
		value = float64(0)
	default:
		return nil, ua.StatusBadAttributeIDInvalid
	}
	return attributeValue(value, now), ua.StatusOK
}

// attributeValue wraps an attribute other than Value; it has no source time.
func attributeValue(value any, now time.Time) *ua.DataValue {
	dv := &ua.DataValue{Value: ua.MustVariant(value), ServerTimestamp: now}
	dv.UpdateMask()
	return dv
}

// access is the AccessLevel attribute (Part 3, 8.57).
func (v *Var) access() byte {
	level := byte(ua.AccessLevelTypeCurrentRead)
	if v.writable {
		level |= byte(ua.AccessLevelTypeCurrentWrite)
	}
	if v.history {
		level |= byte(ua.AccessLevelTypeHistoryRead)
	}
	return level
}

// typeDefinition is BaseDataVariableType for every variable.
func typeDefinition() *ua.ExpandedNodeID {
	return ua.NewNumericExpandedNodeID(0, id.BaseDataVariableType)
}
