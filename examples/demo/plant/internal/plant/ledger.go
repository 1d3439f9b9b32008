package plant

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/plantloom/plantloom/examples/demo/plant/internal/line"
)

// ledger is the file of JSON lines that says what really happened.
type ledger struct {
	f    *os.File
	last uint64 // newest Seq on disk
}

// openLedger opens the file, made if missing, and cuts off a last line that a
// crash left incomplete.
func openLedger(path string) (*ledger, error) {
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("opening the ledger: %w", err)
	}
	l := &ledger{}
	good := 0
	for {
		end := bytes.IndexByte(b[good:], '\n')
		if end < 0 {
			break
		}
		var e line.Entry
		if err := json.Unmarshal(b[good:good+end], &e); err != nil || e.Seq != l.last+1 {
			return nil, fmt.Errorf("opening the ledger: %s is damaged at byte %d: remove the state directory to begin anew", path, good)
		}
		l.last = e.Seq
		good += end + 1
	}
	if l.f, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644); err != nil {
		return nil, fmt.Errorf("opening the ledger: %w", err)
	}
	if err := errors.Join(l.f.Truncate(int64(good)), l.f.Sync()); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the ledger: %w", err), l.f.Close())
	}
	if _, err := l.f.Seek(int64(good), 0); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the ledger: %w", err), l.f.Close())
	}
	return l, nil
}

// append writes the entries that are not in the file yet.
func (l *ledger) append(entries []line.Entry) error {
	var b []byte
	last := l.last
	for _, e := range entries {
		if e.Seq <= last {
			continue
		}
		if e.Seq != last+1 {
			return fmt.Errorf("writing the ledger: entries %d to %d are neither in it nor in the journal: remove the state directory to begin anew", last+1, e.Seq-1)
		}
		last = e.Seq
		j, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("writing the ledger: %w", err)
		}
		b = append(append(b, j...), '\n')
	}
	if len(b) == 0 {
		return nil
	}
	if _, err := l.f.Write(b); err != nil {
		return fmt.Errorf("writing the ledger: %w", err)
	}
	if err := l.f.Sync(); err != nil {
		return fmt.Errorf("writing the ledger: %w", err)
	}
	l.last = last
	return nil
}
