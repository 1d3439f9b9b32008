// Package broker is the embedded Kafka-protocol broker for one box: kfake, a
// single-node broker written in Go, behind a guard of ours, durable on disk
// and usable by any Kafka client on the same machine.
//
// kfake was written for tests. What it lacks for daily use is kept here: the
// guard hands it well-formed frames of known requests only; recovery mends its
// files after a crash before it reads them and closes the transactions that
// were open; a keeper applies retention without ever emptying a partition; a
// lock keeps a second broker off the directory; Child runs it as a process of
// its own, so that a panic in it never takes plantloom down.
//
// The package never creates a topic, never compacts one (whoever owns a
// compacted topic writes snapshots and deletes the records before them) and
// never listens beyond the loopback interface. A record that was acknowledged
// survives the death of the process, and with Fsync a power cut as well: kfake
// syncs its files, not their directories, so the file system must make a new
// file's name durable with its data, as ext4 and XFS do. A commit of one
// transaction over several partitions is not atomic against a crash in the
// middle of it, and offsets that a transaction without records staged before a
// crash are lost although its commit may be answered with success afterwards.
//
// At start the broker reads all retained records, and its memory then peaks at
// about the size of the retained data; retention therefore bounds memory too.
// GOMEMLIMIT in its environment makes the collector work harder near that
// value; set it to at least twice the retained bytes.
//
// Importers: cmd/plantloom, pipeline/run and tests that need a broker.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

const (
	// lastProduceVersion names topics by name. From version 13 on they are
	// named by id, and one request with two unknown ids (two deleted topics)
	// makes kfake panic.
	lastProduceVersion = 12
	// defaultPartitions is what a topic gets that is created without a number.
	defaultPartitions = 4
	// never, in milliseconds (285 years), switches kfake's own cleaner off: it
	// empties partitions, which loses their end offset at the next start.
	never = 9_000_000_000_000
)

// Config of one embedded broker.
type Config struct {
	Dir          string           // data directory, created with mode 0700 and locked
	Listen       string           // host:port on the loopback interface; port 0 takes a free one
	Fsync        bool             // every record is synced to disk before it is acknowledged
	Retention    []Retention      // the first rule whose pattern matches a topic holds for it
	MaxFrame     int32            // bytes; a larger request closes its connection
	SegmentBytes int64            // size at which a log file is closed; disk is freed file by file
	Log          *slog.Logger     // nil discards
	Now          func() time.Time // the clock that ages records; needed
}

// Retention says how long the records of some topics are kept. The newest
// record of a partition always stays. A topic that no rule names follows its
// own retention.ms and retention.bytes, and a topic with cleanup.policy
// compact is never touched. // R9
type Retention struct {
	Topics string        // pattern as in path.Match: "plantloom.inbox.*"
	Age    time.Duration // by the records' timestamps; 0 keeps them for ever
	Bytes  int64         // per partition, as whole log files; 0 keeps them all
}

// DefaultConfig returns the settings of a broker on this machine. Dir and Now
// are left to the caller.
func DefaultConfig() Config {
	return Config{
		Listen:       "127.0.0.1:9492",
		Fsync:        true,
		MaxFrame:     16 << 20,
		SegmentBytes: 16 << 20,
		Log:          slog.New(slog.DiscardHandler),
	}
}

// Broker is a running broker. Its methods may be called from any goroutine.
type Broker struct {
	cfg     Config
	cluster *kfake.Cluster
	guard   *guard
	inside  *inside
	lock    *lock
	logger  *logger
	keeper  *keeper

	closing  sync.Once
	closeErr error
}

// Start opens the data directory, mends it if the last broker on it crashed,
// and serves in this process until Close. ctx bounds the start only.
func Start(ctx context.Context, cfg Config) (*Broker, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := cfg.check(ctx); err != nil {
		return nil, fmt.Errorf("starting the broker: %w", err)
	}
	b := &Broker{cfg: cfg}
	if err := b.start(ctx); err != nil {
		b.abandon()
		return nil, fmt.Errorf("starting the broker: %w", err)
	}
	cfg.Log.Info("broker is up", "addr", b.Addr(), "dir", cfg.Dir, "fsync", cfg.Fsync)
	return b, nil
}

// check refuses what would not be safe to run.
func (c Config) check(ctx context.Context) error {
	switch {
	case c.Dir == "":
		return errors.New("a data directory is needed")
	case c.Now == nil:
		return errors.New("a clock is needed")
	case c.MaxFrame < 1<<16:
		return fmt.Errorf("the largest frame is %d bytes, at least 65536 are needed", c.MaxFrame)
	case c.SegmentBytes < 1<<10:
		return fmt.Errorf("the segment size is %d bytes, at least 1024 are needed", c.SegmentBytes)
	}
	for _, r := range c.Retention {
		if err := r.check(); err != nil {
			return err
		}
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("listen address %q: want host:port: %w", c.Listen, err)
	}
	addrs := []string{""} // no host means every interface
	if host != "" {
		if addrs, err = net.DefaultResolver.LookupHost(ctx, host); err != nil {
			return fmt.Errorf("listen address %q: %w", c.Listen, err)
		}
	}
	for _, a := range addrs {
		if ip := net.ParseIP(a); ip == nil || !ip.IsLoopback() {
			return fmt.Errorf("listen address %q is not on the loopback interface: the embedded broker has no "+
				"authentication or encryption yet; use 127.0.0.1, or a Kafka cluster for several machines", c.Listen)
		}
	}
	return nil
}

// start builds the broker from the directory outwards. abandon undoes a start
// that fails in the middle.
func (b *Broker) start(ctx context.Context) (err error) {
	if b.lock, err = takeLock(b.cfg.Dir); err != nil {
		return err
	}
	if b.guard, err = listen(ctx, b.cfg); err != nil {
		return err
	}
	mended, err := prepare(b.cfg.Dir, b.cfg.Log)
	if err != nil {
		return fmt.Errorf("mending the data in %s: %w", b.cfg.Dir, err)
	}
	b.logger = &logger{log: b.cfg.Log}
	if b.cluster, err = kfake.NewCluster(b.options()...); err != nil {
		return fmt.Errorf("opening the data in %s: %w", b.cfg.Dir, err)
	}
	if err := forgetWindows(b.cfg.Dir); err != nil {
		return err
	}
	b.inside = newInside(b.guard)
	if err := b.inside.abort(ctx, mended.open, b.cfg.Log); err != nil {
		return fmt.Errorf("closing the transactions that a crash left open: %w", err)
	}
	known, err := b.inside.versions(ctx)
	if err != nil {
		return err
	}
	b.keeper = newKeeper(b)
	b.guard.open(known, b.clampDelete)
	b.keeper.start()
	return nil
}

func (b *Broker) options() []kfake.Opt {
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.Produce), lastProduceVersion)
	const max32 = "2147483647" // the longest that kfake accepts: 25 days, or 4000 years in minutes
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ClusterID("plantloom"),
		kfake.DefaultNumPartitions(defaultPartitions),
		kfake.DataDir(dataDir(b.cfg.Dir)),
		kfake.MaxVersions(versions),
		kfake.WithLogger(b.logger),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return b.guard, nil }),
		kfake.BrokerConfigs(map[string]string{
			"log.segment.bytes":      strconv.FormatInt(b.cfg.SegmentBytes, 10),
			"log.cleaner.backoff.ms": strconv.FormatInt(never, 10),
			// A position or a producer's epoch must not be forgotten because
			// a line stood still over a shutdown of some weeks.
			"transactional.id.expiration.ms": max32,
			"offsets.retention.minutes":      max32,
		}),
	}
	if b.cfg.Fsync {
		opts = append(opts, kfake.SyncWrites())
	}
	return opts
}

// Addr returns the host:port on which clients connect.
func (b *Broker) Addr() string { return b.guard.Addr().String() }

// Close stops the broker: no further request is answered, its state is written
// and the directory released. The second and later calls return the same.
func (b *Broker) Close() error {
	b.closing.Do(func() {
		b.keeper.stop()
		b.guard.Close()
		b.inside.close()
		b.logger.failures.Store(0)
		b.cluster.Close()
		var marked error
		if n := b.logger.failures.Load(); n > 0 {
			// Without the marker the next start checks everything.
			marked = fmt.Errorf("writing the broker's state to %s: %d errors, see the log", b.cfg.Dir, n)
		} else {
			marked = markClean(b.cfg.Dir)
		}
		b.closeErr = errors.Join(marked, b.lock.release())
		b.cfg.Log.Info("broker is down", "addr", b.Addr(), "err", b.closeErr)
	})
	return b.closeErr
}

// abandon releases what a failed start holds. The directory is left as after a
// crash, so the next start checks it again.
func (b *Broker) abandon() {
	if b.guard != nil {
		b.guard.Close()
	}
	if b.inside != nil {
		b.inside.close()
	}
	if b.cluster != nil {
		b.cluster.Close()
	}
	if b.lock != nil {
		// The reason of the failed start is what the caller needs to see.
		_ = b.lock.release()
	}
}

// dataDir is where kfake keeps its files, beside our lock and marker.
func dataDir(dir string) string { return filepath.Join(dir, "data") }

// markClean records that kfake's files are complete; prepare takes the mark
// away before the next broker touches them.
func markClean(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, cleanMark), nil, 0o600); err != nil {
		return fmt.Errorf("marking the clean stop: %w", err)
	}
	return nil
}
