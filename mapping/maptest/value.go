package maptest

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	"github.com/plantloom/plantloom/internal/conf"
)

const absent = "absent"

// lookAt returns the text of the field at a path, as tests write it; absent when it is not set.
func lookAt(m protoreflect.Message, path string, start time.Time) string {
	v, fd := protoreflect.ValueOfMessage(m), protoreflect.FieldDescriptor(nil)
	inList := false
	for _, segment := range strings.Split(path, ".") {
		if i, err := strconv.Atoi(segment); err == nil && fd != nil && fd.IsList() && !inList {
			if i >= v.List().Len() {
				return absent
			}
			v, inList = v.List().Get(i), true
			continue
		}
		if fd != nil && (fd.Message() == nil || (fd.IsList() && !inList)) {
			return absent
		}
		msg := v.Message()
		fd = msg.Descriptor().Fields().ByName(protoreflect.Name(segment))
		if fd == nil || !msg.Has(fd) {
			return absent
		}
		v, inList = msg.Get(fd), false
	}
	if fd.IsList() && !inList {
		items := make([]string, v.List().Len())
		for i := range items {
			items[i] = show(fd, v.List().Get(i), start)
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	return show(fd, v, start)
}

// show renders one value as tests write it.
func show(fd protoreflect.FieldDescriptor, v protoreflect.Value, start time.Time) string {
	if fd.Enum() != nil {
		return shortEnum(fd.Enum(), v.Enum())
	}
	if fd.Message() == nil {
		return v.String()
	}
	switch m := v.Message().Interface().(type) {
	case *eventv1.Quantity:
		return m.GetValue()
	case *eventv1.Value:
		return showValue(m, start)
	case *timestamppb.Timestamp:
		return m.AsTime().Sub(start).String()
	case *durationpb.Duration:
		return m.AsDuration().String()
	}
	return "{...}"
}

func showValue(m *eventv1.Value, start time.Time) string {
	r := m.ProtoReflect()
	fd := r.WhichOneof(r.Descriptor().Oneofs().Get(0))
	if fd == nil {
		return absent
	}
	if list := m.GetListValue(); list != nil {
		items := make([]string, len(list.GetValues()))
		for i, x := range list.GetValues() {
			items[i] = showValue(x, start)
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	return show(fd, r.Get(fd), start)
}

// shortEnum is an enum value without the prefix of its type: PASS for VERDICT_PASS.
func shortEnum(d protoreflect.EnumDescriptor, n protoreflect.EnumNumber) string {
	v := d.Values().ByNumber(n)
	if v == nil {
		return strconv.Itoa(int(n))
	}
	unspecified := string(d.Values().Get(0).Name())
	return strings.TrimPrefix(string(v.Name()), strings.TrimSuffix(unspecified, "UNSPECIFIED"))
}

// wanted is the text of an expected value.
func wanted(n *conf.Node) string {
	switch n.Kind() {
	case conf.Null, conf.Missing:
		return absent
	case conf.List:
		items := make([]string, 0, len(n.Items()))
		for _, i := range n.Items() {
			items = append(items, wanted(i))
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	return n.Text()
}

// same says whether a value is the expected one: equal text, equal number or equal duration.
func same(want, got string) bool {
	if want == got {
		return true
	}
	if got == absent || want == absent {
		// proto3 does not tell a false bool, a zero or an empty text from an absent one.
		return got == absent && (want == "false" || want == "0" || want == "")
	}
	if w, ok := number(want); ok {
		g, ok := number(got)
		return ok && w.Cmp(g) == 0
	}
	w, errWant := conf.ParseDuration(want)
	g, errGot := conf.ParseDuration(got)
	return errWant == nil && errGot == nil && w == g
}

// number reads decimal text; a leading zero makes it a text such as an order number.
func number(text string) (*big.Rat, bool) {
	if _, err := conf.ParseFloat(text); err != nil || len(text) > 64 || strings.ContainsAny(text, "eE") {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}

func diff(path, want, got string) string { return fmt.Sprintf("%s: want %s, got %s", path, want, got) }
