package sqlhistorian

import (
	"database/sql"

	"github.com/plantloom/plantloom/pipeline"
)

// What the vocabulary has no name for: OPC UA Part 6 annex A (StatusCode.csv).
const (
	badTypeMismatch                    pipeline.Quality = 0x80740000
	uncertainSensorNotAccurate         pipeline.Quality = 0x40930000
	uncertainEngineeringUnitsExceeded  pipeline.Quality = 0x40940000
	informationTypeDataValue           pipeline.Quality = 0x00000400
	limitShift                                          = 8 // limit bits of OPC UA; of OPC DA they are bits 0 and 1
	limitMask, substatusMask, maxOPCDA                  = 0x03, 0xFC, 0xFF
)

// quality turns dataintegrity into an OPC UA status code. Up to 255 it is an OPC
// DA quality: severity in bits 6 and 7, a reason in 2 to 5, limits in 0 and 1
// (OPC Data Access 3.00, 6.8). Gateways write other numbers for troubles of their
// own; those are Bad. A row without any is Uncertain.
func quality(integrity sql.NullInt64) pipeline.Quality {
	switch {
	case !integrity.Valid:
		return pipeline.Uncertain
	case integrity.Int64 < 0 || integrity.Int64 > maxOPCDA:
		return pipeline.Bad
	}
	q := bySubstatus(integrity.Int64 & substatusMask)
	if limit := integrity.Int64 & limitMask; limit != 0 {
		q |= informationTypeDataValue | pipeline.Quality(limit)<<limitShift
	}
	return q
}

func bySubstatus(code int64) pipeline.Quality {
	switch code {
	case 192:
		return pipeline.Good
	case 216:
		return pipeline.GoodLocalOverride
	case 68:
		return pipeline.UncertainLastUsable
	case 80:
		return uncertainSensorNotAccurate
	case 84:
		return uncertainEngineeringUnitsExceeded
	case 88:
		return pipeline.UncertainSubNormal
	case 4:
		return pipeline.BadConfigurationError
	case 8:
		return pipeline.BadNotConnected
	case 12:
		return pipeline.BadDeviceFailure
	case 16:
		return pipeline.BadSensorFailure
	case 20, 28: // last known value; out of service
		return pipeline.BadOutOfService
	case 24:
		return pipeline.BadCommunicationError
	case 32:
		return pipeline.BadWaitingForInitialData
	}
	switch code >> 6 {
	case 3:
		return pipeline.Good
	case 1:
		return pipeline.Uncertain
	}
	return pipeline.Bad // 0, and the reserved 2
}
