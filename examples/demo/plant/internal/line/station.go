package line

import (
	"fmt"
	"math"
	"time"
)

// resultEvery is the least plant time between two results of the station, and
// lateBy how long serial and torque may follow the ready bit.
const (
	resultEvery = 5 * time.Second
	lateBy      = 200 * time.Millisecond
)

// Station is the capping station: one result at a time, presented until it is
// acknowledged by its serial.
type Station struct {
	Made     uint32    // results so far
	NextAt   time.Time `json:",omitzero"` // not before
	Pending  bool      // presented, not acknowledged
	Serial   string    // of the pending result
	Torque   float64   // [lbf_av].[in_i]
	Bad      bool      // the torque sensor failed
	SerialAt time.Time `json:",omitzero"` // when the serial appears
	TorqueAt time.Time `json:",omitzero"` // when the torque appears
}

// station presents the next result or follows the pending one.
func (l *Line) station() {
	st := &l.s.Station
	if l.cfg.Paper {
		return
	}
	if !st.Pending {
		if l.s.Phase == Execute && !l.s.Now.Before(st.NextAt) {
			l.present()
		}
		return
	}
	if !l.s.Now.Before(st.SerialAt) {
		l.set("Cap.Serial", st.Serial, Good)
	}
	if !l.s.Now.Before(st.TorqueAt) {
		if st.Bad {
			l.set("Cap.Torque", nil, BadSensorFailure)
		} else {
			l.set("Cap.Torque", st.Torque, Good)
		}
	}
	// The serial itself is compared, not what the tag still shows.
	if l.text("Cap.AckSerial") == st.Serial {
		st.Pending = false
		l.set("Cap.Ready", false, Good)
		l.record(Entry{Event: ResultAcked, Serial: st.Serial}, nil)
	}
}

// present makes a result: most torques are near the recipe's, a few are not,
// and now and then the sensor fails.
func (l *Line) present() {
	st := &l.s.Station
	st.Made++
	st.Pending = true
	st.Serial = fmt.Sprintf("%s-%06d", l.cfg.Name, st.Made)
	spread := 0.6
	if l.rng.Float64() < 0.06 {
		spread = 4
	}
	st.Torque = math.Round((l.s.Current.Torque+spread*l.rng.NormFloat64())*100) / 100
	st.Bad = l.rng.Float64() < 0.04
	st.SerialAt, st.TorqueAt = l.in(l.between(0, lateBy)), l.in(l.between(0, lateBy))
	st.NextAt = l.in(l.between(resultEvery, resultEvery+2*time.Second))
	l.set("Cap.Ready", true, Good)
	e := Entry{Event: Result, Serial: st.Serial, Quality: "good", TorqueSet: l.s.Current.Torque, FillSet: l.s.Current.Fill}
	if st.Bad {
		e.Quality = "bad"
	} else {
		torque := st.Torque
		e.Torque = &torque
	}
	l.record(e, l.s.Current)
}
