package opcua

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/connectors/opcua/wire"
	"github.com/plantloom/plantloom/pipeline"
)

type write struct {
	tag   int
	to    nodeType
	value *ua.Variant
	check bool // read it back
}

// errInDoubt is a write of which nobody knows whether it took effect.
var errInDoubt = errors.New("whether it was written is not known")

// write writes one tag. When the answer does not come, the value is read back; only a value that is there counts as
// written, and nothing is ever written twice.
func (e *execution) write(ctx context.Context, w write) error {
	name := e.s.host.Tags[w.tag].ID
	if ctx.Err() != nil {
		return fmt.Errorf("writing tag %s: the deadline passed before it", name)
	}
	l := e.s.link()
	if l == nil {
		return fmt.Errorf("writing tag %s: the connection was lost before it", name)
	}
	resp, err := call[*ua.WriteResponse](ctx, l, &ua.WriteRequest{NodesToWrite: []*ua.WriteValue{{
		NodeID: w.to.node, AttributeID: ua.AttributeIDValue, Value: &ua.DataValue{EncodingMask: ua.DataValueValue, Value: w.value},
	}}})
	if err == nil && len(resp.Results) != 1 {
		err = ua.StatusBadUnknownResponse
	}
	if err == nil {
		if code := resp.Results[0]; bad(code) {
			return refuse(statusText(code), "tag %s: the device refused the value: %v", name, pipeline.Quality(code))
		}
		e.written(w)
		return nil
	}
	if code, answered := errors.AsType[ua.StatusCode](err); answered && l.ch.Err() == nil && notExecuted(code) {
		if sessionLost(err) {
			return fmt.Errorf("writing tag %s: %w", name, err)
		}
		return refuse(statusText(code), "tag %s: the device refused the request: %v", name, pipeline.Quality(code))
	}
	if e.isThere(ctx, w) {
		e.written(w)
		return nil
	}
	return fmt.Errorf("writing tag %s: %w: %w", name, errInDoubt, err)
}

func (e *execution) written(w write) {
	if id := e.s.host.Tags[w.tag].ID; !slices.Contains(e.result.WrittenTagIds, id) {
		e.result.WrittenTagIds = append(e.result.WrittenTagIds, id)
	}
	e.s.host.Count("tags_written", 1)
}

// notExecuted reports a service result that says that the service did nothing.
func notExecuted(code ua.StatusCode) bool {
	return code != ua.StatusBadTimeout && code != ua.StatusBadUnknownResponse && code != ua.StatusBadDecodingError &&
		code != ua.StatusBadInternalError && code != ua.StatusBadUnexpectedError && code != ua.StatusBadCommunicationError
}

// isThere waits for a connection and reports that the node holds the value.
func (e *execution) isThere(ctx context.Context, w write) bool {
	for wait(ctx, e.s.cfg.HandshakePoll) {
		l := e.s.link()
		if l == nil {
			continue
		}
		if v, err := l.read(ctx, []attribute{{w.to.node, ua.AttributeIDValue}}); err == nil {
			return same(w.value, v[0])
		}
	}
	return false
}

// same compares a written value with one that was read.
func same(wrote *ua.Variant, read wire.DataValue) bool {
	want, err := wire.ValueOf(wrote)
	return err == nil && !read.Status.IsBad() && want.Value == read.Value
}

// readBackWithin is how long a controller may take until a written value shows: several of its cycles.
const readBackWithin = time.Second

// readBack compares what must be compared; differs says what is not as it was written.
func (e *execution) readBack(ctx context.Context) (differs string, err error) {
	var check []write
	var what []attribute
	for _, w := range e.writes {
		if w.check {
			check, what = append(check, w), append(what, attribute{w.to.node, ua.AttributeIDValue})
		}
	}
	if len(check) == 0 {
		return "", nil
	}
	within, cancel := context.WithTimeout(ctx, readBackWithin)
	defer cancel()
	for {
		l := e.s.link()
		if l == nil {
			err = errors.New("the connection was lost before the values were read back")
		} else if v, failed := l.read(ctx, what); failed != nil {
			err = fmt.Errorf("reading the written values back: %w", failed)
		} else {
			differs, err = "", nil
			for i, w := range check {
				if !same(w.value, v[i]) {
					differs = fmt.Sprintf("tag %s: wrote %v, read %v (%v)", e.s.host.Tags[w.tag].ID, w.value.Value(), v[i].Value, v[i].Status)
					break
				}
			}
			if differs == "" {
				return "", nil
			}
		}
		if !wait(within, e.s.cfg.HandshakePoll) {
			return differs, err
		}
	}
}

// wait sleeps and reports whether ctx is still alive.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
