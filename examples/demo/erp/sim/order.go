package sim

import (
	"fmt"
	"strconv"
	"time"
)

// Order states. An order is open until its final confirmation.
const (
	orderReleased   = "RELEASED"
	orderDownloaded = "DOWNLOADED"
	orderRefused    = "REFUSED" // by the machine; a person releases it again
	orderConfirmed  = "CONFIRMED"
)

const (
	operationID = "0010"
	unitCode    = "C62" // pieces, UNECE Rec. 20
	paperCentre = "L9"  // works a paper list, nothing is released to it electronically
)

// Order is what the ERP wants made. Amounts are decimal text.
type Order struct {
	Order      string      `json:"order"`
	Version    int64       `json:"version"` // rises with every change, over all orders
	Status     string      `json:"status"`
	Material   string      `json:"material"`
	Text       string      `json:"text"`
	Quantity   string      `json:"quantity"`
	Unit       string      `json:"unit"`
	WorkCentre string      `json:"work_center"`
	Operations []Operation `json:"operations"`
	Parameters []Parameter `json:"parameters"`
	Release    int         `json:"release"` // 1 the first time, 2 when released again
	ReleasedAt time.Time   `json:"released_at"`
}

// Operation is one step of an order; the demo's orders have exactly one.
type Operation struct {
	Operation  string `json:"operation"`
	WorkCentre string `json:"work_center"`
	Quantity   string `json:"quantity"`
}

// Parameter is a recipe set point.
type Parameter struct {
	ID    string `json:"id"`
	Value string `json:"value"`
	Unit  string `json:"unit"` // UNECE Rec. 20
}

// recipe is what a material needs on the line.
type recipe struct{ material, text, fillVolume, capTorque string }

func electronicCentres() []string { return []string{"L1", "L2", "L3"} }

func recipes() []recipe {
	return []recipe{
		{"WATER-05", "Still water 0.5 l", "0.5", "15.5"},
		{"WATER-10", "Still water 1.0 l", "1.0", "17.0"},
		{"SPARKLING-07", "Sparkling water 0.75 l", "0.75", "18.5"},
	}
}

// release makes the orders that a work centre with so many open ones lacks.
// version is the highest one given out so far.
func (s *state) release(p plan, centre string, open int, version int64, at time.Time) []Order {
	var out []Order
	base := map[string]int{"L1": 1, "L2": 2, "L3": 3}[centre]
	if base == 0 {
		return nil
	}
	released := s.releasedBy[centre]
	for open < p.open && (p.orders == 0 || released < p.orders) {
		released++
		open++
		r := recipes()[(base+released)%len(recipes())]
		quantity := strconv.Itoa(p.target)
		out = append(out, Order{
			Order:   fmt.Sprintf("%d%06d", base, released),
			Version: version + int64(len(out)) + 1,
			Status:  orderReleased, Material: r.material, Text: r.text,
			Quantity: quantity, Unit: unitCode, WorkCentre: centre,
			Operations: []Operation{{Operation: operationID, WorkCentre: centre, Quantity: quantity}},
			Parameters: []Parameter{
				{ID: "FillVolume", Value: r.fillVolume, Unit: "LTR"},
				{ID: "CapTorque", Value: r.capTorque, Unit: "F21"}, // pound-force inch
			},
			Release: 1, ReleasedAt: at,
		})
	}
	return out
}

// again is o released once more.
func (s *state) again(o Order, at time.Time) Order {
	o.Version = s.version + 1
	o.Status = orderReleased
	o.Release++
	o.ReleasedAt = at
	return o
}

// find returns an order that the ERP knows. Paper orders 9000001 and up exist
// without a release: the line works them from a list.
func (s *state) find(id string) (Order, bool) {
	if o, ok := s.orders[id]; ok {
		return *o, true
	}
	n, err := strconv.Atoi(id)
	if err != nil || n <= 9_000_000 || n > 9_999_999 || strconv.Itoa(n) != id {
		return Order{}, false
	}
	r := recipes()[0]
	return Order{
		Order: id, Status: orderReleased, Material: r.material, Text: r.text, Quantity: "40", Unit: unitCode,
		WorkCentre: paperCentre, Release: 1,
		Operations: []Operation{{Operation: operationID, WorkCentre: paperCentre, Quantity: "40"}},
	}, true
}
