package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// journalName is the one file of the ERP: its state and its ledger.
const journalName = "ledger.jsonl"

const (
	kindStart   = "start"
	kindRequest = "request"
	kindRelease = "release"
)

// record is one line of the journal. A request, its answer, its effect and the
// orders that it changes share a line, so an effect exists fully or not at all.
type record struct {
	N        int64     `json:"n"` // contiguous from 1
	At       time.Time `json:"at"`
	Kind     string    `json:"kind"`
	Request  *request  `json:"request,omitempty"`
	Fault    string    `json:"fault,omitempty"` // what the ERP was told to do wrong
	Effect   *Effect   `json:"effect,omitempty"`
	Released []Order   `json:"released,omitempty"` // orders as they are after this record
	Answer   *answer   `json:"answer,omitempty"`   // what was or would have been sent
}

// request is what of a request is kept: never a password.
type request struct {
	Method         string `json:"method"`
	Route          string `json:"route"` // the path with its variables by name
	Path           string `json:"path"`
	Query          string `json:"query,omitempty"`
	User           string `json:"user,omitempty"`
	UserAgent      string `json:"user_agent,omitempty"`
	IdempotencyKey string `json:"idempotency_key,omitempty"`
	ExternalID     string `json:"external_id,omitempty"`
	Repeat         bool   `json:"repeat,omitempty"` // answered from the stored answer
}

// answer is a status and a JSON body.
type answer struct {
	Status int             `json:"status"`
	Body   json.RawMessage `json:"body,omitempty"`
}

// journal appends lines durably. It is not safe for concurrent use.
type journal struct {
	file   *os.File
	lock   *os.File
	size   int64 // up to here the file holds whole, applied lines
	cut    int64
	broken error
}

// openJournal takes the directory's lock and feeds every whole line to apply.
func openJournal(dir string, apply func(record) error) (_ *journal, err error) {
	if dir == "" {
		return nil, errors.New("the simulated ERP needs a state directory: give --state")
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("making the state directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("opening the lock: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.Close())
		}
	}()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("locking %s (does another simulated ERP use it?): %w", dir, err)
	}
	file, err := os.OpenFile(filepath.Join(dir, journalName), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	j := &journal{file: file, lock: lock}
	if err := j.replay(apply); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if err := syncDir(dir); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return j, nil
}

// replay applies the whole lines and cuts a torn last one: it had not been
// synced, so nobody was answered.
func (j *journal) replay(apply func(record) error) error {
	content, err := io.ReadAll(j.file)
	if err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	whole := content[:bytes.LastIndexByte(content, '\n')+1]
	for line := range bytes.Lines(whole) {
		var rec record
		if err := json.Unmarshal(line, &rec); err != nil {
			return fmt.Errorf("reading the journal at byte %d: %w", j.size, err)
		}
		if err := apply(rec); err != nil {
			return fmt.Errorf("replaying the journal at byte %d: %w", j.size, err)
		}
		j.size += int64(len(line))
	}
	j.cut = int64(len(content) - len(whole))
	if j.cut == 0 {
		return nil
	}
	if err := j.file.Truncate(j.size); err != nil {
		return fmt.Errorf("cutting the torn last line of the journal: %w", err)
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("syncing the journal: %w", err)
	}
	return nil
}

// append returns nil when rec is on disk. After a failure the journal takes
// nothing more: what is on disk is then unknown until the next start.
func (j *journal) append(rec record) error {
	if j.broken != nil {
		return j.broken
	}
	line, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("encoding a journal record: %w", err)
	}
	line = append(line, '\n')
	if _, err := j.file.WriteAt(line, j.size); err != nil {
		j.broken = fmt.Errorf("writing the journal: %w", err)
		return j.broken
	}
	if err := j.file.Sync(); err != nil {
		j.broken = fmt.Errorf("syncing the journal: %w", err)
		return j.broken
	}
	j.size += int64(len(line))
	return nil
}

func (j *journal) close() error {
	if j.file == nil {
		return nil
	}
	j.broken = errors.New("the simulated ERP is closed")
	err := errors.Join(j.file.Close(), j.lock.Close())
	j.file = nil
	return err
}

// syncDir makes the journal's name durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("opening the state directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("syncing the state directory: %w", err)
	}
	return nil
}
