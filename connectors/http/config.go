package http

import (
	"fmt"
	"net/url"
	"time"

	"github.com/plantloom/plantloom/internal/conf"
)

// Config is the configuration of a source or a sink of kind http. The comments
// of its fields are the reference; the README's tables are made from them.
type Config struct {
	// Base address, such as https://erp.example:8443/base. No other host is ever contacted; proxies and redirects are not followed.
	URL BaseURL `conf:"url,required"`
	// How to log in: none, basic: {user, password} or bearer: {token}.
	Auth Auth `conf:"auth"`
	// Bounds one request, from the connection to the last byte of the answer.
	Timeout time.Duration `conf:"timeout,positive"`
	// How long the peer may still be working on a request after our time-out. The lane waits so long before it looks up what is in doubt (R1).
	Settle time.Duration `conf:"settle,positive"`
	// header sends the effect id as Idempotency-Key; declare it only for a peer that honours it.
	Idempotency Idempotency `conf:"idempotency"`
	// true when a 503 of this peer proves that nothing was done; otherwise a 503 leaves the event in doubt.
	RejectsBeforeExecuting bool `conf:"rejects_before_executing"`
	// Largest answer that is read.
	MaxResponse conf.Size `conf:"max_response,positive"`
	// Whom to trust.
	TLS TLS `conf:"tls"`
	// Of a sink: which events are posted where. The first route that fits an event takes it; an event that none takes is skipped with a note.
	Routes []Route `conf:"routes"`
	// Of a source: where released orders are polled and how they are read.
	Orders *Orders `conf:"orders"`
}

// Defaults returns the configuration before the file is read.
func Defaults() Config {
	return Config{
		Timeout: 30 * time.Second, Settle: 30 * time.Second, Idempotency: IdempotencyNone, MaxResponse: 1 << 20,
	}
}

// TLS says whom to trust.
type TLS struct {
	// PEM file of the authorities to trust instead of the system's; relative to the plant directory.
	CAFile string `conf:"ca_file"`
}

// Auth is how to log in. At most one field is set.
type Auth struct {
	// HTTP basic authentication.
	Basic *Basic `conf:"basic"`
	// A bearer token.
	Bearer *Bearer `conf:"bearer"`
}

// Basic is HTTP basic authentication.
type Basic struct {
	// User name.
	User string `conf:"user,required"`
	// Password by reference: env:NAME or file:PATH; read anew for each request.
	Password conf.Secret `conf:"password,required"`
}

// Bearer is a token in the Authorization header.
type Bearer struct {
	// Token by reference: env:NAME or file:PATH; read anew for each request.
	Token conf.Secret `conf:"token,required"`
}

// DecodeConf reads none, basic or bearer.
func (a *Auth) DecodeConf(n *conf.Node, faults *conf.Faults) {
	if n.Kind() == conf.Scalar {
		if n.Text() != "none" {
			faults.Add(n.ValuePos(), conf.CodeUnknownValue, "auth wants none, basic or bearer",
				conf.Hint("write auth: {basic: {user: NAME, password: env:NAME}}"))
		}
		*a = Auth{}
		return
	}
	type plain Auth
	conf.Decode(n, (*plain)(a), faults)
	if a.Basic != nil && a.Bearer != nil {
		faults.Add(n.Field("bearer").Pos(), conf.CodeUnknownValue, "auth has both basic and bearer", conf.Hint("keep one of them"))
	}
}

// Idempotency says how a repeated request is told to the peer.
type Idempotency string

// The ways. A key changes what Go's transport does on a lost connection, so it
// is only ever sent on request.
const (
	IdempotencyNone   Idempotency = "none"
	IdempotencyHeader Idempotency = "header"
)

// Values lists the ways.
func (Idempotency) Values() []string {
	return []string{string(IdempotencyNone), string(IdempotencyHeader)}
}

// BaseURL is an absolute http or https address without query.
type BaseURL struct{ u *url.URL }

// UnmarshalText reads the address strictly.
func (b *BaseURL) UnmarshalText(text []byte) error {
	u, err := url.Parse(string(text))
	switch {
	case err != nil:
		return fmt.Errorf("%q is not an address such as https://erp.example/base", text)
	case u.User != nil:
		return fmt.Errorf("the address carries a user name or password; put them under auth")
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.Opaque != "":
		return fmt.Errorf("%q is not an address such as https://erp.example/base", text)
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return fmt.Errorf("%q carries a query or fragment; put it into path", text)
	}
	b.u = u
	return nil
}

// Route says which events go where, as what, and how to find them again.
type Route struct {
	// Message name, such as ProductionOrderEvent or QualityEvent.
	Event string `conf:"event,required"`
	// Values of the event's type that the route takes, such as [PROGRESS, COMPLETED]; all when absent.
	Types []string `conf:"types"`
	// POST (the default), PUT or PATCH.
	Method Method `conf:"method"`
	// Path under url. {formula} inserts a value, escaped: /api/orders/{e.order_id}/status.
	Path *conf.Node `conf:"path,required"`
	// The request's JSON: a tree of literals and = formulas over the event. A key whose formula gives nil is left out; without body the request has none.
	Body *conf.Node `conf:"body"`
	// Formula for the peer's document number in the answer, such as =answer.document. When absent, every 2xx means done.
	Document *conf.Node `conf:"document"`
	// How to find out whether the effect exists. Without it an event in doubt waits for a person.
	Lookup *Lookup `conf:"lookup"`
	// Extra rules that judge an answer, before the usual ones; the first that fits decides.
	Classes []Class `conf:"classes"`

	compiled compiledRoute
}

// Lookup finds the effect of an event in the peer; it is always a GET.
type Lookup struct {
	// Path under url, with {formula} as in the route.
	Path *conf.Node `conf:"path,required"`
	// Formula that says whether the effect exists, such as =len(answer.items) > 0. Evaluated on a 2xx answer only.
	Found *conf.Node `conf:"found,required"`
	// Formula that says whether what was found is what we sent (sent is our body); false is a conflict for a person.
	Same *conf.Node `conf:"same"`
	// Formula for the document number in the look-up's answer.
	Document *conf.Node `conf:"document"`
	// Statuses that prove that there is no such effect, such as [404]. A wrong path gives the same status: declare it only for a peer that means it.
	AbsentStatus []int `conf:"absent_status"`
}

// Class is a rule that judges an answer.
type Class struct {
	// Statuses that the rule is about; any when absent.
	Status []int `conf:"status"`
	// Formula over status, answer and text; any answer when absent.
	When *conf.Node `conf:"when"`
	// done, reject, retry, look_up or in_doubt.
	Class ClassName `conf:"class,required"`

	when *formula
}

// ClassName is what an answer means.
type ClassName string

// The classes of an answer.
const (
	ClassDone    ClassName = "done"     // the effect exists
	ClassReject  ClassName = "reject"   // no retry can mend it
	ClassRetry   ClassName = "retry"    // provably not executed
	ClassLookUp  ClassName = "look_up"  // read what exists, then decide
	ClassInDoubt ClassName = "in_doubt" // settle, then look up
)

// Values lists the classes.
func (ClassName) Values() []string {
	return []string{string(ClassDone), string(ClassReject), string(ClassRetry), string(ClassLookUp), string(ClassInDoubt)}
}

// Method is the method of a posting.
type Method string

// Values lists the methods.
func (Method) Values() []string { return []string{"POST", "PUT", "PATCH"} }

// Orders says how released orders are polled.
type Orders struct {
	// Path under url, with {since} for the place reached so far: /api/orders?since={since}&limit=200.
	Path *conf.Node `conf:"path,required"`
	// Pause between polls, 5s when absent. A page with orders is followed by the next one at once.
	Interval time.Duration `conf:"interval,positive"`
	// What since is at the very first start.
	Start string `conf:"start"`
	// Formula for the list of orders in the answer, such as =answer.orders.
	Items *conf.Node `conf:"items,required"`
	// Formula for the next since, such as =answer.next. Without it every poll reads the same list; repeats are then dropped by order and version.
	Next *conf.Node `conf:"next"`
	// Fields of ProductionOrder, by their proto names, as literals and = formulas over o (one item). A list of messages is {each: =o.operations, operation_id: =it.operation}, with it as the element, or a YAML list.
	Order *conf.Node `conf:"order,required"`

	compiled compiledOrders
}
