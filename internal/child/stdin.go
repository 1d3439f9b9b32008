package child

import (
	"context"
	"errors"
	"io"
	"os"
)

// ErrParentGone is the cause of a context that WatchStdin cancelled.
var ErrParentGone = errors.New("the supervising process is gone")

// Supervised reports whether this process was started by Supervise.
func Supervised() bool { return os.Getenv(EnvSupervised) == "1" }

// WatchStdin returns a context that ends with ctx, or with cause ErrParentGone
// when r (os.Stdin of a child) reaches its end or fails: the parent is gone.
// What arrives on r is thrown away. The goroutine that reads lives until r
// ends, which for os.Stdin is the life of the process.
func WatchStdin(ctx context.Context, r io.Reader) context.Context {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		// A read error and the end of input mean the same here.
		_, _ = io.Copy(io.Discard, r)
		cancel(ErrParentGone)
	}()
	return ctx
}
