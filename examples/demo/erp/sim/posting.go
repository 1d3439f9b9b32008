package sim

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"

	"github.com/cockroachdb/apd/v3"
)

const (
	statusDownloaded     = "DOWNLOADED"
	statusDownloadFailed = "DOWNLOAD_FAILED"
	reasonRefused        = "REFUSED"
)

// amountText is what an amount looks like: no sign, no exponent.
var amountText = regexp.MustCompile(`^[0-9]{1,12}(\.[0-9]{1,6})?$`)

// postConfirmation books a partial or the final confirmation of an operation.
func (e *ERP) postConfirmation(c *call) decision {
	var in confirmation
	if d := decode(c, &in, &in.ExternalID); d != nil {
		return *d
	}
	if d := e.repeat(c, effectConfirmation, in.ExternalID); d != nil {
		return *d
	}
	o, known := e.state.find(in.Order)
	switch {
	case !known:
		return refuse(422, "UNKNOWN_ORDER", fmt.Sprintf("there is no order %q", in.Order))
	case in.Operation != operationID:
		return refuse(422, "UNKNOWN_OPERATION", fmt.Sprintf("order %s has no operation %q, only %s", in.Order, in.Operation, operationID))
	case in.WorkCentre != o.WorkCentre:
		return refuse(422, "WRONG_WORK_CENTER", fmt.Sprintf("order %s belongs to work centre %s, not %q", in.Order, o.WorkCentre, in.WorkCentre))
	case in.Unit != unitCode:
		return refuse(422, "WRONG_UNIT", fmt.Sprintf("order %s is counted in %s, not %q", in.Order, unitCode, in.Unit))
	}
	acc := e.state.accounts[in.Order]
	if acc != nil && acc.final {
		return refuse(http.StatusConflict, "ORDER_CLOSED", fmt.Sprintf("order %s is finally confirmed", in.Order))
	}
	amounts := [][2]string{{"yield", in.Yield}, {"scrap", in.Scrap}}
	if in.Final {
		amounts = append(amounts, [2]string{"total_yield", in.TotalYield}, [2]string{"total_scrap", in.TotalScrap})
	}
	for _, a := range amounts {
		if !amountText.MatchString(a[1]) {
			return refuse(422, "BAD_AMOUNT", fmt.Sprintf("%s %q is no amount such as \"12\" or \"12.5\"", a[0], a[1]))
		}
	}
	d := e.booked(c, effectConfirmation, in.ExternalID, in.Order)
	if in.Final {
		d.effect.Correction = correction(acc, in)
		d.released = e.state.release(e.plan, o.WorkCentre, e.state.openBy[o.WorkCentre]-1, e.state.version, e.now())
	}
	return d
}

// correction is the difference between the totals of the final confirmation
// and what is booked with it, or nil. The amounts have been checked.
func correction(acc *account, in confirmation) *Correction {
	if acc == nil {
		acc = &account{}
	}
	difference := func(total, booked string, before apd.Decimal) apd.Decimal {
		var sum, end apd.Decimal
		sum.Set(&before)
		mustAdd(&sum, booked)
		mustAdd(&end, total)
		if _, err := decimals().Sub(&end, &end, &sum); err != nil {
			panic(fmt.Sprintf("subtracting checked amounts: %v", err))
		}
		return end
	}
	y := difference(in.TotalYield, in.Yield, acc.yield)
	s := difference(in.TotalScrap, in.Scrap, acc.scrap)
	if y.IsZero() && s.IsZero() {
		return nil
	}
	return &Correction{Order: in.Order, Yield: plain(&y), Scrap: plain(&s)}
}

// mustAdd adds an amount that has been checked.
func mustAdd(sum *apd.Decimal, amount string) {
	if err := addText(sum, amount); err != nil {
		panic(fmt.Sprintf("adding a checked amount: %v", err))
	}
}

// postInspection books the inspection result of a part.
func (e *ERP) postInspection(c *call) decision {
	var in inspection
	if d := decode(c, &in, &in.ExternalID); d != nil {
		return *d
	}
	if d := e.repeat(c, effectInspection, in.ExternalID); d != nil {
		return *d
	}
	if in.Serial == "" {
		return refuse(422, "NO_SERIAL", "serial is empty")
	}
	verdicts := []string{"PASS", "FAIL", "NOT_DECIDABLE", "CONDITIONAL"}
	if !slices.Contains(verdicts, in.Verdict) {
		return refuse(422, "BAD_VERDICT", fmt.Sprintf("verdict %q is none of %v", in.Verdict, verdicts))
	}
	if _, known := e.state.find(in.Order); in.Order != "" && !known {
		return refuse(422, "UNKNOWN_ORDER", fmt.Sprintf("there is no order %q", in.Order))
	}
	return e.booked(c, effectInspection, in.ExternalID, in.Order)
}

// postStatus books what became of a download. A failed one is released again,
// unless the machine refused it: that needs a person.
func (e *ERP) postStatus(c *call) decision {
	var in statusReport
	if d := decode(c, &in, &in.ExternalID); d != nil {
		return *d
	}
	if d := e.repeat(c, effectStatus, in.ExternalID); d != nil {
		return *d
	}
	id := c.http.PathValue("order")
	o, known := e.state.find(id)
	if !known {
		return refuse(422, "UNKNOWN_ORDER", fmt.Sprintf("there is no order %q", id))
	}
	if in.Status != statusDownloaded && in.Status != statusDownloadFailed {
		return refuse(422, "BAD_STATUS", fmt.Sprintf("status %q is neither %s nor %s", in.Status, statusDownloaded, statusDownloadFailed))
	}
	d := e.booked(c, effectStatus, in.ExternalID, id)
	released := o.Version > 0 && o.Status != orderConfirmed
	if released && in.Status == statusDownloadFailed && in.Reason != reasonRefused {
		d.released = []Order{e.state.again(o, e.now())}
	}
	return d
}

// booked is the decision to book c as it came.
func (e *ERP) booked(c *call, kind, externalID, order string) decision {
	prefix := map[string]string{effectConfirmation: "50", effectInspection: "60", effectStatus: "70"}[kind]
	document := prefix + fmt.Sprintf("%08d", len(e.state.effects)+1)
	d := accept(http.StatusCreated, map[string]string{"document": document, "external_id": externalID})
	d.effect = &Effect{
		Document: document, Kind: kind, ExternalID: externalID, Key: key(c, externalID), Hash: hash(c.body),
		At: e.now(), Order: order, Posting: json.RawMessage(c.body),
	}
	return d
}

// repeat returns the stored answer for a key seen before, if the ERP honours
// keys. One that ignores them books again.
func (e *ERP) repeat(c *call, kind, externalID string) *decision {
	first := e.state.byKey[kind+"\x00"+key(c, externalID)]
	if c.ignoreKey || first == nil {
		return nil
	}
	c.request.Repeat = true
	d := decision{answer: first.answer}
	if first.hash != hash(c.body) {
		d = refuse(422, "KEY_REUSED", "this key was used with another content")
	}
	return &d
}

// key is the Idempotency-Key header, or the external id of a client that sends
// no header.
func key(c *call, externalID string) string {
	return orText(c.request.IdempotencyKey, externalID)
}

func hash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:8])
}

// decode reads the body strictly and notes the external id. It returns a
// refusal or nil.
func decode(c *call, into any, externalID *string) *decision {
	dec := json.NewDecoder(bytes.NewReader(c.body))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil {
		if _, more := dec.Token(); more != io.EOF {
			err = fmt.Errorf("something follows the object")
		}
	}
	c.request.ExternalID = *externalID
	if err != nil {
		d := refuse(http.StatusBadRequest, "BAD_JSON", err.Error())
		return &d
	}
	if *externalID == "" {
		d := refuse(422, "NO_EXTERNAL_ID", "external_id is empty")
		return &d
	}
	return nil
}

// lookUp finds effects of one kind by their external id.
func (e *ERP) lookUp(kind string) func(*call) decision {
	return func(c *call) decision {
		id := c.http.URL.Query().Get("external_id")
		if id == "" {
			return refuse(http.StatusBadRequest, "NO_EXTERNAL_ID", "give ?external_id=")
		}
		items := []map[string]any{}
		for _, eff := range e.state.byExternal[kind+"\x00"+id] {
			items = append(items, map[string]any{
				"document": eff.Document, "external_id": eff.ExternalID, "order": eff.Order, "at": eff.At, "posting": eff.Posting,
			})
		}
		return accept(http.StatusOK, map[string]any{"items": items})
	}
}

// listOrders returns open orders changed after since, oldest change first.
func (e *ERP) listOrders(c *call) decision {
	since, err := number(c.http.URL.Query().Get("since"), 0)
	if err != nil {
		return refuse(http.StatusBadRequest, "BAD_SINCE", err.Error())
	}
	limit, err := number(c.http.URL.Query().Get("limit"), 100)
	if err != nil {
		return refuse(http.StatusBadRequest, "BAD_LIMIT", err.Error())
	}
	open := []Order{}
	for _, id := range e.state.orderIDs {
		if o := e.state.orders[id]; o.Version > since && o.Status != orderConfirmed {
			open = append(open, *o)
		}
	}
	slices.SortFunc(open, func(a, b Order) int { return int(a.Version - b.Version) })
	open = open[:min(int64(len(open)), limit)]
	next := since
	if len(open) > 0 {
		next = open[len(open)-1].Version
	}
	return accept(http.StatusOK, map[string]any{"orders": open, "next": strconv.FormatInt(next, 10)})
}

// number reads a query parameter that counts something.
func number(text string, def int64) (int64, error) {
	if text == "" {
		return def, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is no number", text)
	}
	return n, nil
}
