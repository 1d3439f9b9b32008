package pipeline

import "errors"

// ErrNotConnected is a Commander's answer while it has no session; nothing was written.
var ErrNotConnected = errors.New("not connected")

// Reject is a sink's answer that no retry can mend: the event goes to the dead letters.
type Reject struct {
	Code string // stable, for example HTTP_422
	Err  error
}

func (e *Reject) Error() string { return "rejected: " + e.Err.Error() }
func (e *Reject) Unwrap() error { return e.Err }

// NotExecuted is a sink's answer that the request certainly had no effect: it may be sent again.
type NotExecuted struct {
	Err error
	// RetryAfter is the peer's own wish in seconds, 0 when it gave none.
	RetryAfter int
}

func (e *NotExecuted) Error() string { return "not executed: " + e.Err.Error() }
func (e *NotExecuted) Unwrap() error { return e.Err }

// Conflict is a look-up's answer that the effect exists with another content: a person must decide.
type Conflict struct {
	Receipt Receipt
	Err     error
}

func (e *Conflict) Error() string { return "conflict: " + e.Err.Error() }
func (e *Conflict) Unwrap() error { return e.Err }
