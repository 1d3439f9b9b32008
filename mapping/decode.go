package mapping

import (
	"fmt"
	"strings"
	"time"

	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/mapping/engine"
)

// The shapes of the file, read by internal/conf. A *conf.Node is read further by hand.

type fileShape struct {
	Mapping version    `conf:"mapping,required"`
	Machine *conf.Node `conf:"machine"`
	Inputs  *conf.Node `conf:"inputs"`
	Outputs *conf.Node `conf:"outputs"`
	Context *conf.Node `conf:"context"`
	Let     *conf.Node `conf:"let"`
	Rules   *conf.Node `conf:"rules"`
	Tests   *conf.Node `conf:"tests"`
}

func (fileShape) LaterKeys() map[string]string { return laterOfFile() }

type inputShape struct {
	Tag     *conf.Node    `conf:"tag,required"`
	Type    inputType     `conf:"type,required"`
	Counter *counterShape `conf:"counter"`
	MaxRate rate          `conf:"max_rate"`
	Unit    *conf.Node    `conf:"unit"`
	Bad     badPolicy     `conf:"bad"`
	MaxAge  time.Duration `conf:"max_age,positive"`
}

func (inputShape) LaterKeys() map[string]string { return laterOfInput() }

type counterShape struct {
	Min       int64         `conf:"min"`
	Max       int64         `conf:"max,required"`
	Resets    resets        `conf:"resets"`
	MaxGap    time.Duration `conf:"max_gap,positive"`
	Slack     float64       `conf:"slack"`
	Ambiguous ambiguous     `conf:"ambiguous"`
}

type outputShape struct {
	Tag      *conf.Node `conf:"tag"`
	Table    *conf.Node `conf:"table"`
	Type     outputType `conf:"type"`
	Unit     *conf.Node `conf:"unit"`
	Min      *float64   `conf:"min"`
	Max      *float64   `conf:"max"`
	MaxLen   int        `conf:"max_len,positive"`
	ReadBack bool       `conf:"read_back"`
}

func (outputShape) LaterKeys() map[string]string { return map[string]string{"each": laterRepeat} }

type contextShape struct {
	Tag       *conf.Node    `conf:"tag,required"`
	Type      contextType   `conf:"type,required"`
	MinStable time.Duration `conf:"min_stable"`
}

func (contextShape) LaterKeys() map[string]string { return laterOfContext() }

type ruleShape struct {
	Name      *conf.Node    `conf:"name,required"`
	When      *conf.Node    `conf:"when"`
	Settle    time.Duration `conf:"settle,positive"`
	Every     time.Duration `conf:"every,positive"`
	Split     *conf.Node    `conf:"split"`
	On        *conf.Node    `conf:"on"`
	Step      int64         `conf:"step,positive"`
	Receive   *conf.Node    `conf:"receive"`
	If        *conf.Node    `conf:"if"`
	Let       *conf.Node    `conf:"let"`
	Emit      *conf.Node    `conf:"emit"`
	Key       *conf.Node    `conf:"key"`
	Set       *conf.Node    `conf:"set"`
	Write     *conf.Node    `conf:"write"`
	Handshake *conf.Node    `conf:"handshake"`
	Ack       *conf.Node    `conf:"ack"`
	Expires   time.Duration `conf:"expires,positive"`
}

func (ruleShape) LaterKeys() map[string]string { return laterOfRule() }

// all takes the nodes as they stand: decoding leaves out what has a fault, and a rule must know that it is there.
func (s *ruleShape) all(n *conf.Node) {
	for name, node := range map[string]**conf.Node{
		"name": &s.Name, "when": &s.When, "split": &s.Split, "on": &s.On, "receive": &s.Receive, "if": &s.If, "let": &s.Let,
		"emit": &s.Emit, "key": &s.Key, "set": &s.Set, "write": &s.Write, "handshake": &s.Handshake, "ack": &s.Ack,
	} {
		*node = n.Field(name)
	}
}

type shakeShape struct {
	Request *conf.Node    `conf:"request,required"`
	Ack     *conf.Node    `conf:"ack,required"`
	Nack    *conf.Node    `conf:"nack"`
	Code    *conf.Node    `conf:"code"`
	Style   style         `conf:"style"`
	Within  time.Duration `conf:"within,positive"`
}

type (
	version     string
	inputType   string
	outputType  string
	contextType string
	columnType  string
	badPolicy   string
	resets      string
	ambiguous   string
	style       string
	verb        string
	rate        float64 // 1/s
)

func (version) Values() []string     { return []string{"v1"} }
func (inputType) Values() []string   { return []string{"bool", "int", "uint", "float", "text", "time"} }
func (outputType) Values() []string  { return []string{"bool", "int", "uint", "float", "text"} }
func (contextType) Values() []string { return []string{"bool", "int", "uint", "float", "text"} }
func (columnType) Values() []string  { return []string{"text", "int", "float", "bool"} }
func (badPolicy) Values() []string   { return []string{"hold", "wait", "omit", "use"} }
func (resets) Values() []string      { return []string{"never", "order", "any"} }
func (ambiguous) Values() []string   { return []string{"smaller", "hold"} }
func (style) Values() []string       { return []string{"level", "toggle", "sequence"} }
func (verb) Values() []string        { return []string{"new", "changed", "cancelled"} }

func (b badPolicy) engine() engine.BadPolicy {
	switch b {
	case "wait":
		return engine.BadWait
	case "omit":
		return engine.BadOmit
	case "use":
		return engine.BadUse
	}
	return engine.BadHold
}

func (r resets) engine() engine.Resets {
	switch r {
	case "order":
		return engine.ResetsOrder
	case "any":
		return engine.ResetsAny
	}
	return engine.ResetsNever
}

// DecodeConf reads a rate: a number per s, min or h.
func (r *rate) DecodeConf(n *conf.Node, faults *conf.Faults) {
	var text string
	before := faults.Len()
	conf.Decode(n, &text, faults)
	if faults.Len() > before {
		return
	}
	number, unit, _ := strings.Cut(text, "/")
	seconds := map[string]float64{"s": 1, "min": 60, "h": 3600}[strings.TrimSpace(unit)]
	value, err := conf.ParseFloat(strings.TrimSpace(number))
	if err != nil || seconds == 0 || value <= 0 {
		faults.Add(n.ValuePos(), conf.CodeWrongType, fmt.Sprintf("%q wants a rate above zero with its time unit, not %q", n.Name(), text),
			conf.Hint("write a number per s, min or h, such as 50/s"))
		return
	}
	*r = rate(value / seconds)
}
