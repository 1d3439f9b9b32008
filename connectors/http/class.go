package http

import (
	"errors"
	"fmt"
	nethttp "net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/plantloom/plantloom/pipeline"
)

// maxShown bounds how much of an answer a message quotes, in runes.
const maxShown = 300

// errInDoubt marks an error that is neither a Reject nor a NotExecuted (R1).
var errInDoubt = errors.New("in doubt")

// classify says what an answer means: the route's rules first, then the usual
// meaning of its status.
func (s *sink) classify(r *Route, a *answer, env map[string]any) (ClassName, error) {
	for i := range r.Classes {
		rule := &r.Classes[i]
		if len(rule.Status) > 0 && !slices.Contains(rule.Status, a.status) {
			continue
		}
		if rule.when != nil {
			fits, err := rule.when.evalBool(env)
			if err != nil {
				return ClassInDoubt, err
			}
			if !fits {
				continue
			}
		}
		return rule.Class, nil
	}
	return defaultClass(a, s.config.RejectsBeforeExecuting), nil
}

// defaultClass is what a status means without rules. What is not listed here
// proves nothing and is in doubt.
func defaultClass(a *answer, rejectsFirst bool) ClassName {
	switch a.status {
	case nethttp.StatusUnauthorized, nethttp.StatusForbidden, nethttp.StatusTooManyRequests, nethttp.StatusTooEarly:
		return ClassRetry
	case nethttp.StatusServiceUnavailable:
		if rejectsFirst {
			return ClassRetry
		}
		return ClassInDoubt
	case nethttp.StatusConflict, nethttp.StatusPreconditionFailed, nethttp.StatusLocked, nethttp.StatusPreconditionRequired:
		return ClassLookUp
	case nethttp.StatusBadRequest, nethttp.StatusNotFound, nethttp.StatusMethodNotAllowed, nethttp.StatusGone,
		nethttp.StatusRequestEntityTooLarge, nethttp.StatusUnsupportedMediaType, nethttp.StatusExpectationFailed,
		nethttp.StatusUnprocessableEntity:
		return ClassReject
	}
	if a.status >= 200 && a.status <= 299 {
		return ClassDone
	}
	return ClassInDoubt
}

// describe is an answer in one sentence, with what a person must do when only
// a person can mend it.
func (c *client) describe(a *answer) error {
	switch {
	case a.status == nethttp.StatusUnauthorized:
		return fmt.Errorf("%s refused %s (401): user or password is wrong; mend auth%s", c.hostname, c.whoAmI(), quote(a))
	case a.status == nethttp.StatusForbidden && strings.EqualFold(a.header.Get("X-Csrf-Token"), "required"):
		return fmt.Errorf("%s wants a CSRF token (403), which this connector does not fetch%s", c.hostname, quote(a))
	case a.status == nethttp.StatusForbidden:
		return fmt.Errorf("%s forbids this to %s (403): give that login the right, or mend auth%s", c.hostname, c.whoAmI(), quote(a))
	case a.status >= 300 && a.status <= 399:
		return fmt.Errorf("%s redirects (%d) to %q, which is not followed: mend url or path", c.hostname, a.status, a.header.Get("Location"))
	}
	return fmt.Errorf("%s answered %d%s", c.hostname, a.status, quote(a))
}

// quote is the begin of an answer, printable and in one line.
func quote(a *answer) string {
	shown := []rune(strings.Join(strings.Fields(string(a.text)), " "))
	if len(shown) == 0 {
		return ""
	}
	if len(shown) > maxShown {
		shown = append(shown[:maxShown], '…')
	}
	for i, r := range shown {
		if !unicode.IsPrint(r) {
			shown[i] = unicode.ReplacementChar
		}
	}
	return ": " + string(shown)
}

// retryAfter is the peer's wish in seconds, 0 when it has none.
func retryAfter(h nethttp.Header, now time.Time) int {
	text := h.Get("Retry-After")
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return n
	}
	if at, err := nethttp.ParseTime(text); err == nil && at.After(now) {
		return int((at.Sub(now) + time.Second - 1) / time.Second)
	}
	return 0
}

func rejected(code string, err error) error { return &pipeline.Reject{Code: code, Err: err} }

func inDoubt(err error) error { return fmt.Errorf("%w: %w", errInDoubt, err) }
