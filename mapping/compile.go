package mapping

import (
	"strings"

	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/mapping/engine"
)

// compile has the engine check and lower the mapping. errorsBefore is how many errors there were before this file.
func (p *parser) compile(errorsBefore int) {
	program, faults := engine.Compile(p.m.Spec)
	for _, f := range faults {
		if !p.consequence(f) {
			p.faults.AddFault(faultOf(f))
		}
	}
	if errorsIn(p.faults) == errorsBefore {
		p.m.Program = program
	}
}

// consequence says whether a fault only follows from one that is reported already.
func (p *parser) consequence(f engine.Fault) bool {
	for _, s := range p.broken {
		if s.holds(confPos(f.At)) {
			return true
		}
	}
	for name := range p.hollow {
		if strings.Contains(f.Message, quoted(name)) {
			return true
		}
	}
	return false
}

// faultOf gives an engine's fault the form of this package's: one spelling of codes.
func faultOf(f engine.Fault) conf.Fault {
	out := conf.Fault{
		Pos: confPos(f.At), Code: strings.ToLower(strings.ReplaceAll(f.Code, "_", "-")),
		Message: f.Message, Near: f.Near, Hint: f.Hint,
	}
	if f.Warning {
		out.Severity = conf.SeverityWarning
	}
	return out
}
