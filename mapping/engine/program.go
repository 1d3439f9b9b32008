package engine

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/plantloom/plantloom/internal/unit"
	"github.com/plantloom/plantloom/mapping/formula"
)

// Program is a mapping, checked and lowered. It is immutable: engines and machines share it.
type Program struct {
	name    string
	inputs  []inputDef
	context []contextDef
	columns []columnDef
	outputs map[string]*outputDef
	rules   []*ruleDef

	slots    int   // of a frame
	lag      int64 // ns that machines stay behind the watermark, so that contexts are known to be stable
	order    int   // index of the context named order, -1 when there is none
	operates bool  // a formula reads operation
}

// Name is the mapping's name.
func (p *Program) Name() string { return p.name }

// What stands where in a frame. An input's five slots stand together.
const (
	slotEventTime = iota
	slotOutcome
	slotCode
	slotMessage
	fixedSlots
)

const (
	ofValue = iota
	ofPrev
	ofDelta
	ofChanged
	slotsPerInput
)

// The objects of a frame.
const (
	objectE = iota
	objectEOrder
	objectOld
	objectOldOrder
	objectOperation
	objectOperationOrder
	objects
)

type inputDef struct {
	name    string
	kind    formula.Kind
	unit    *unit.Unit
	counter *Counter
	maxRate float64
	bad     BadPolicy
	maxAge  int64
	slot    int // the first of its slots
}

func (d *inputDef) at(what int) int { return d.slot + what }

type contextDef struct {
	name      string
	kind      formula.Kind
	minStable int64
	slot      int
}

type columnDef struct {
	name string
	kind formula.Kind
	slot int
}

type outputDef struct {
	name     string
	kind     formula.Kind
	unit     *unit.Unit
	min, max *float64
	maxLen   int
	readBack bool
	required bool
	table    []*outputDef // of a recipe; then the rest is unused but name and readBack
}

type triggerKind uint8

const (
	byWhen triggerKind = iota
	byEvery
	byOn
	byReceive
)

// sources says which inputs and contexts a formula reads, and which slots it needs at a firing.
type sources struct {
	inputs   []int // current value read
	contexts []int
	deltas   []int
	changes  []int
	asked    []int // by ok, quality, ts, age, prev
}

type splitDef struct {
	expr *formula.Expr
	use  sources
}

type ruleDef struct {
	index     int
	name      string
	trigger   triggerKind
	canonical string // of the trigger: its state belongs to it

	when    formula.BoolFunc
	whenUse sources
	settle  int64
	every   int64
	splits  []splitDef
	on      int
	step    int64
	verbs   [3]bool // new, changed, cancelled

	cond    formula.BoolFunc
	use     sources
	waits   []int // inputs with bad: wait
	message *messageDef
	key     formula.TextFunc
	writes  []assignDef
	acks    []assignDef
	shake   *Handshake
	expires int64
}

// messageDef is the event that a rule emits.
type messageDef struct {
	kind   string // short name
	typ    protoreflect.MessageType
	header protoreflect.FieldDescriptor
	fields []fieldDef
	orders protoreflect.FieldDescriptor // order_id
	oper   protoreflect.FieldDescriptor // operation_id
	from   protoreflect.FieldDescriptor // interval_start, nil when the mapping sets it
	to     protoreflect.FieldDescriptor
}

// fieldDef sets one field; path are the messages above it.
type fieldDef struct {
	name     string
	path     []protoreflect.FieldDescriptor
	fd       protoreflect.FieldDescriptor
	value    valueFunc
	required bool
	items    []itemDef // of a list
	isList   bool
}

// itemDef is an element of a list: a value, or a message with fields.
type itemDef struct {
	value  valueFunc
	fields []fieldDef
}

// valueFunc returns a value; ok is false where it is null.
type valueFunc func(f *formula.Frame) (v protoreflect.Value, ok bool, err error)

type assignDef struct {
	output *outputDef
	value  writeFunc
	params formula.ListFunc // of a recipe
}

// ruleError is why a rule could not make its event.
type ruleError struct{ code, reason string }

func (e *ruleError) Error() string { return e.reason }
