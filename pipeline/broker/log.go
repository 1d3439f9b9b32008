package broker

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kfake"
)

// logger hands kfake's warnings and errors to slog. What it says below that is
// a line per request.
type logger struct {
	log      *slog.Logger
	failures atomic.Int64 // warnings and errors so far; Close looks at those of the stop
}

func (l *logger) Logf(level kfake.LogLevel, format string, args ...any) {
	if strings.HasPrefix(format, "txn: EndTxn slow") {
		level = kfake.LogLevelDebug // said from 5 ms on, which is what a sync to disk takes
	}
	switch level {
	case kfake.LogLevelError:
		l.failures.Add(1)
		l.log.Error(fmt.Sprintf(format, args...), "from", "kfake")
	case kfake.LogLevelWarn:
		l.failures.Add(1)
		l.log.Warn(fmt.Sprintf(format, args...), "from", "kfake")
	case kfake.LogLevelNone, kfake.LogLevelInfo, kfake.LogLevelDebug:
	}
}
