package line

import "fmt"

// PackML state numbers (ISA-TR88.00.02) that a line shows.
const (
	Clearing   int32 = 1
	Stopped    int32 = 2
	Starting   int32 = 3
	Idle       int32 = 4
	Suspended  int32 = 5
	Execute    int32 = 6
	Holding    int32 = 10
	Held       int32 = 11
	Resetting  int32 = 15
	Completing int32 = 16
	Complete   int32 = 17
)

// StateName returns the name of a PackML state for people.
func StateName(s int32) string {
	switch s {
	case Clearing:
		return "clearing"
	case Stopped:
		return "stopped"
	case Starting:
		return "starting"
	case Idle:
		return "idle"
	case Suspended:
		return "suspended"
	case Execute:
		return "execute"
	case Holding:
		return "holding"
	case Held:
		return "held"
	case Resetting:
		return "resetting"
	case Completing:
		return "completing"
	case Complete:
		return "complete"
	}
	return fmt.Sprintf("state %d", s)
}
