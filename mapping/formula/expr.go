package formula

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/plantloom/plantloom/internal/unit"
)

// Kind is the static type of a formula.
type Kind uint8

// The kinds. Invalid is the kind after a fault: it fits everywhere, so that one mistake is told once.
const (
	Invalid Kind = iota
	Null
	Bool
	Int
	Uint
	Float
	Text
	Time
	Quantity   // a Quantity message: decimal text with its unit
	Parameters // a list of Parameter messages
	List       // a list of texts or numbers
	Object     // any other message
)

// String names the kind as the language does.
func (k Kind) String() string {
	return [...]string{"invalid", "null", "bool", "int", "uint", "float", "text", "time", "quantity", "parameters", "list", "message"}[k]
}

// KindOf returns the kind of a type's name in a mapping, Invalid when there is none of that name.
func KindOf(name string) Kind {
	for _, k := range []Kind{Bool, Int, Uint, Float, Text, Time} {
		if k.String() == name {
			return k
		}
	}
	return Invalid
}

func (k Kind) numeric() bool { return k == Int || k == Uint || k == Float }

// Closures return a value and whether there is one.
type (
	BoolFunc  func(*Frame) (bool, bool)
	IntFunc   func(*Frame) (int64, bool)
	UintFunc  func(*Frame) (uint64, bool)
	FloatFunc func(*Frame) (float64, bool)
	TextFunc  func(*Frame) (string, bool)
	// MessageFunc returns nil where there is no message.
	MessageFunc func(*Frame) protoreflect.Message
	// ListFunc returns an invalid list where there is none.
	ListFunc func(*Frame) protoreflect.List
)

// Expr is a checked and lowered formula. The closure of its kind is set: Bool, Int (also of a Time), Uint, Float,
// Text, Message (of a Quantity or an Object) or Params.
type Expr struct {
	Kind Kind
	// Unit is the unit of a number, nil when none is known.
	Unit    *unit.Unit
	Bool    BoolFunc
	Int     IntFunc
	Uint    UintFunc
	Float   FloatFunc
	Text    TextFunc
	Message MessageFunc
	Params  ListFunc
	Items   []*Expr // of a List

	// Offset is the byte in the source where the expression begins.
	Offset int
	// Literals are the texts that the result can be, when all are known.
	Literals []Literal
	// Input is the name of the input when the formula is nothing else.
	Input string

	number *number // of a literal number
	slot   int     // of a bare slot, -1 otherwise
	object *ObjectType
	cost   int // evaluations of one node, lets included
}

// Literal is a text in a formula with its place.
type Literal struct {
	Text   string
	Offset int
}

type number struct {
	integer bool
	i       int64
	f       float64
}

// ObjectType is a message that formulas read by its fields.
type ObjectType struct {
	Name    string // as messages to people say it
	Desc    protoreflect.MessageDescriptor
	Alias   map[string]string      // further names of fields
	Objects map[string]*ObjectType // further members that are messages of their own, read by Slot
	Slot    int
}

func (t *ObjectType) members() (names []string) {
	for i := range t.Desc.Fields().Len() {
		names = append(names, string(t.Desc.Fields().Get(i).Name()))
	}
	names = append(names, sortedKeys(t.Alias)...)
	return append(names, sortedKeys(t.Objects)...)
}

// Symbol is what a name stands for.
type Symbol struct {
	Name string
	Kind Kind
	Slot int
	Unit *unit.Unit
	// Input marks a tag's value; the slots of what functions know of it follow. Context marks one without counters.
	Input, Context       bool
	Prev, Delta, Changed int
	Object               *ObjectType
	Let                  *Expr
}

// Table is a look-up table: a key column and further columns, all text.
type Table struct {
	Columns []string
	Rows    map[string][]string
}

// Env is what a formula may name. Lookup, Use and Report are set.
type Env struct {
	Lookup func(name string) *Symbol
	Names  func() []string // for suggestions
	// Hint says where a name that is unknown here would be known; nil or "" when there is nothing to say.
	Hint    func(name string) string
	Columns func(name string) *Symbol
	// ColumnNames are the columns of m, for suggestions.
	ColumnNames []string
	Tables      map[string]*Table
	EventTime   int // slot
	// Use is told of each input that is read, with the function through which; "" reads the current value. What it
	// returns is a fault: why this formula cannot use it.
	Use func(function string, s *Symbol) string
	// Report takes a fault; offset is a byte in the source.
	Report func(f Fault)
}

// Fault is one thing wrong with a formula.
type Fault struct {
	Code, Message, Near, Hint string
	Offset                    int
}
