package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	cleanMark   = "clean"
	windowsFile = "seq_windows.json"
)

// findings is what recovery learned from the log files after a crash.
type findings struct {
	open    map[partition][]int64 // producers whose transaction has no end marker
	windows []window              // the newest sequence numbers of each producer
}

type partition struct {
	topic  string
	number int32
}

// prepare readies the directory for kfake. After a crash it mends what kfake
// would misread:
//   - the index file beside each log file is matched to it by position, so one
//     entry that is missing would shift the meaning of all later ones;
//   - the sequence numbers of idempotent producers are written on a clean stop
//     only: they are collected from the log, so that a producer which resends
//     what was stored before the crash is recognised;
//   - a transaction that was open counts as aborted in memory only: its marker
//     is written by inside.abort, else the next transaction of that producer
//     would take the aborted records with it;
//   - a snapshot of a partition with an open transaction would keep readers of
//     committed records before it for ever.
func prepare(dir string, log *slog.Logger) (findings, error) {
	data := dataDir(dir)
	if err := os.MkdirAll(data, 0o700); err != nil {
		return findings{}, err
	}
	// The configuration is the truth; what kfake wrote would override it.
	for _, name := range []string{"sasl.json", "acls.json"} {
		if err := removeFile(filepath.Join(data, name)); err != nil {
			return findings{}, err
		}
	}
	clean, err := takeMark(dir)
	if err != nil || clean {
		return findings{}, err
	}
	if _, err := os.Stat(filepath.Join(data, "meta.json")); errors.Is(err, os.ErrNotExist) {
		return findings{}, nil // the first start
	}
	log.Info("the broker was not stopped cleanly, checking its data", "dir", dir)
	f, err := scan(data, log)
	if err != nil {
		return findings{}, err
	}
	for p := range f.open {
		if err := removeFile(filepath.Join(partitionDir(data, p.topic, p.number), "snapshot.json")); err != nil {
			return findings{}, err
		}
	}
	return f, writeWindows(data, f.windows)
}

// takeMark removes the mark of a clean stop and reports whether it was there.
// It must be gone from disk before anything is written.
func takeMark(dir string) (bool, error) {
	err := os.Remove(filepath.Join(dir, cleanMark))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	d, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	return true, errors.Join(d.Sync(), d.Close())
}

// scan reads every log file of every partition.
func scan(data string, log *slog.Logger) (findings, error) {
	f := findings{open: map[partition][]int64{}}
	dirs, err := os.ReadDir(filepath.Join(data, "partitions"))
	if errors.Is(err, os.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	for _, d := range dirs {
		p, ok := parsePartition(d.Name())
		if !ok {
			continue
		}
		s := newScanner(p)
		segments, err := listSegments(filepath.Join(data, "partitions", d.Name()))
		if err != nil {
			return f, err
		}
		for i, seg := range segments {
			cut, err := s.segment(seg)
			if err != nil {
				return f, fmt.Errorf("reading %s: %w", seg.path, err)
			}
			// A torn end of the last file is what a crash leaves, never acknowledged.
			if cut > 0 && i < len(segments)-1 {
				log.Error("a log file is damaged: the records behind the damage are lost; restore it from a backup if they matter",
					"file", seg.path, "position", seg.size-cut, "lost_bytes", cut)
			}
		}
		if open := s.openProducers(); len(open) > 0 {
			f.open[p] = open
		}
		f.windows = append(f.windows, s.windows()...)
	}
	return f, nil
}

// parsePartition undoes partitionDir.
func parsePartition(name string) (partition, bool) {
	i := strings.LastIndexByte(name, '-')
	if i < 0 {
		return partition{}, false
	}
	n, err := strconv.ParseInt(name[i+1:], 10, 32)
	if err != nil {
		return partition{}, false
	}
	topic, err := url.PathUnescape(name[:i])
	return partition{topic: topic, number: int32(n)}, err == nil
}

// window is kfake's record of one producer in one partition: up to five
// batches, oldest first, by which it recognises one that is sent again.
type window struct {
	PID       int64    `json:"pid"`
	Topic     string   `json:"topic"`
	Partition int32    `json:"partition"`
	Entries   [5]entry `json:"entries"`
	Count     uint8    `json:"count"`
	At        uint8    `json:"at"` // where the next one goes
	Epoch     int16    `json:"epoch"`
	Seen      bool     `json:"seen"`
	NextSeq   int32    `json:"next_seq"`
}

type entry struct {
	FirstSeq int32 `json:"first_seq"`
	NextSeq  int32 `json:"next_seq"`
	Offset   int64 `json:"offset"`
}

// writeWindows replaces the sequence numbers that an earlier clean stop left.
// The file is read in this start only, so it need not outlive a crash.
func writeWindows(data string, windows []window) error {
	text, err := json.Marshal(struct {
		Version int      `json:"version"`
		Windows []window `json:"windows"`
	}{1, windows})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(data, windowsFile), text, 0o600)
}

// forgetWindows removes the sequence numbers once kfake has read them: after a
// crash they would be those of an earlier time.
func forgetWindows(dir string) error {
	return removeFile(filepath.Join(dataDir(dir), windowsFile))
}

// removeFile removes a file that may be missing.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
