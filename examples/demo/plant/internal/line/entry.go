package line

import "time"

// Entry is a line of the truth ledger: what really happened, whatever anybody
// saw of it.
type Entry struct {
	Seq   uint64    `json:"seq"` // contiguous from 1 over the plant's life
	Event string    `json:"event"`
	At    time.Time `json:"at"`
	Line  string    `json:"line"`

	Order     string  `json:"order,omitempty"`
	Operation string  `json:"operation,omitempty"`
	Material  string  `json:"material,omitempty"`
	Target    uint32  `json:"target,omitempty"`
	Good      *uint32 `json:"good,omitempty"`  // order_done
	Scrap     *uint32 `json:"scrap,omitempty"` // order_done

	// download
	Outcome  string `json:"outcome,omitempty"` // loaded or refused
	ErrNo    int32  `json:"err_no,omitempty"`
	Repeated bool   `json:"repeated,omitempty"` // loaded without effect

	// result, result_acked; torques in [lbf_av].[in_i]
	Serial    string   `json:"serial,omitempty"`
	Torque    *float64 `json:"torque,omitempty"` // absent when the quality is bad
	Quality   string   `json:"quality,omitempty"`
	TorqueSet float64  `json:"torque_set,omitempty"` // of the recipe
	FillSet   float64  `json:"fill_set,omitempty"`   // l, of the recipe
}

// Events of the ledger.
const (
	OrderStarted = "order_started"
	OrderDone    = "order_done"
	OrderAcked   = "order_acked"
	Download     = "download"
	Result       = "result"
	ResultAcked  = "result_acked"
)

// record adds an entry about an order (nil: none).
func (l *Line) record(e Entry, o *Order) {
	e.At, e.Line = l.s.Now, l.cfg.Name
	if o != nil {
		e.Order, e.Operation = o.No, o.Operation
	}
	l.entries = append(l.entries, e)
}
