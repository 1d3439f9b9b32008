package pipeline

import "fmt"

// Quality is an OPC UA status code, for every protocol (a Modbus time-out is BadTimeout). The top two bits are the
// severity; the others keep the reason and the information bits. Never compare a Quality with Good: test severity.
// Numbers: OPC UA Part 4 7.39 and Part 6 annex A (StatusCode.csv).
type Quality uint32

// Codes that connectors give themselves.
const (
	Good                      Quality = 0x00000000
	GoodOverflow              Quality = 0x00000480 // information type data value, overflow
	GoodNoData                Quality = 0x00A50000
	GoodLocalOverride         Quality = 0x00960000
	Uncertain                 Quality = 0x40000000
	UncertainLastUsable       Quality = 0x40900000
	UncertainSubstitute       Quality = 0x40910000
	UncertainInitial          Quality = 0x40920000
	UncertainSubNormal        Quality = 0x40950000
	UncertainDataSubNormal    Quality = 0x40A40000
	Bad                       Quality = 0x80000000
	BadCommunicationError     Quality = 0x80050000
	BadTimeout                Quality = 0x800A0000
	BadNoCommunication        Quality = 0x80310000
	BadWaitingForInitialData  Quality = 0x80320000
	BadNodeIDUnknown          Quality = 0x80340000
	BadOutOfRange             Quality = 0x803C0000
	BadConfigurationError     Quality = 0x80890000
	BadNotConnected           Quality = 0x808A0000
	BadDeviceFailure          Quality = 0x808B0000
	BadSensorFailure          Quality = 0x808C0000
	BadOutOfService           Quality = 0x808D0000
	BadDataLost               Quality = 0x809D0000
	severityMask              Quality = 0xC0000000
	overflowBits              Quality = 0x00000480
	infoTypeAndOverflowFields Quality = 0x00000C80
)

// Severity is the top two bits.
type Severity uint8

// The severities, better first.
const (
	SeverityGood Severity = iota
	SeverityUncertain
	SeverityBad
)

// Severity returns the severity; the reserved pattern 11 counts as bad.
func (q Quality) Severity() Severity {
	switch q & severityMask {
	case 0:
		return SeverityGood
	case Uncertain:
		return SeverityUncertain
	}
	return SeverityBad
}

// IsGood reports good severity, whatever the information bits.
func (q Quality) IsGood() bool { return q.Severity() == SeverityGood }

// IsUncertain reports uncertain severity.
func (q Quality) IsUncertain() bool { return q.Severity() == SeverityUncertain }

// IsBad reports bad severity.
func (q Quality) IsBad() bool { return q.Severity() == SeverityBad }

// Overflow reports that the server's queue lost values before this one.
func (q Quality) Overflow() bool { return q&infoTypeAndOverflowFields == overflowBits }

// Worse returns the code of the worse severity, q where they are equal.
func (q Quality) Worse(o Quality) Quality {
	if o.Severity() > q.Severity() {
		return o
	}
	return q
}

// String returns the name of a code named here, else its severity with the code in hexadecimal.
func (q Quality) String() string {
	code := q &^ 0xFFFF
	for _, n := range qualityNames {
		if n.code == code {
			return n.name
		}
	}
	return fmt.Sprintf("%s(0x%08X)", [...]string{"Good", "Uncertain", "Bad"}[q.Severity()], uint32(q))
}

type qualityName struct {
	code Quality
	name string
}

var qualityNames = [...]qualityName{
	{Good, "Good"}, {GoodNoData, "GoodNoData"}, {GoodLocalOverride, "GoodLocalOverride"},
	{Uncertain, "Uncertain"}, {UncertainLastUsable, "UncertainLastUsableValue"},
	{UncertainSubstitute, "UncertainSubstituteValue"}, {UncertainInitial, "UncertainInitialValue"},
	{UncertainSubNormal, "UncertainSubNormal"}, {UncertainDataSubNormal, "UncertainDataSubNormal"},
	{Bad, "Bad"}, {BadCommunicationError, "BadCommunicationError"}, {BadTimeout, "BadTimeout"},
	{BadNoCommunication, "BadNoCommunication"}, {BadWaitingForInitialData, "BadWaitingForInitialData"},
	{BadNodeIDUnknown, "BadNodeIdUnknown"}, {BadOutOfRange, "BadOutOfRange"},
	{BadConfigurationError, "BadConfigurationError"}, {BadNotConnected, "BadNotConnected"},
	{BadDeviceFailure, "BadDeviceFailure"}, {BadSensorFailure, "BadSensorFailure"},
	{BadOutOfService, "BadOutOfService"}, {BadDataLost, "BadDataLost"},
}
