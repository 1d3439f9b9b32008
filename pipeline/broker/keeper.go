package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const sweepEvery = 30 * time.Second

// keeper applies retention in place of kfake's own, which forgets the end
// offset of a partition that it has emptied: after the next start consumers
// would wait for offsets that are given out a second time.
type keeper struct {
	cluster *kfake.Cluster
	inside  *inside
	rules   []Retention
	data    string
	log     *slog.Logger
	now     func() time.Time

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newKeeper(b *Broker) *keeper {
	return &keeper{
		cluster: b.cluster, inside: b.inside, rules: b.cfg.Retention,
		data: dataDir(b.cfg.Dir), log: b.cfg.Log, now: b.cfg.Now,
	}
}

// check refuses a rule that could never match or would keep less than nothing.
func (r Retention) check() error {
	if _, err := path.Match(r.Topics, ""); err != nil || r.Topics == "" {
		return fmt.Errorf("retention: pattern %q of topics: want a name with * and ?", r.Topics)
	}
	if r.Age < 0 || r.Bytes < 0 {
		return fmt.Errorf("retention of topics %q: a negative age or size", r.Topics)
	}
	return nil
}

// start sweeps every 30 s until stop.
func (k *keeper) start() {
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	k.wg.Add(1)
	go func() {
		defer k.wg.Done()
		tick := time.NewTicker(sweepEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := k.sweep(ctx); err != nil && ctx.Err() == nil {
				k.log.Error("retention could not be applied, trying again", "err", err)
			}
		}
	}()
}

func (k *keeper) stop() {
	k.cancel()
	k.wg.Wait()
}

// sweep applies the rules once to every partition.
func (k *keeper) sweep(ctx context.Context) error {
	topics, err := k.inside.topics(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for topic := range topics {
		rule := k.rule(topic)
		if rule.Age == 0 && rule.Bytes == 0 {
			continue
		}
		for _, p := range k.cluster.PartitionInfos(topic) {
			if err := k.trim(ctx, topic, p, rule); err != nil {
				errs = append(errs, fmt.Errorf("partition %s-%d: %w", topic, p.Partition, err))
			}
		}
	}
	return errors.Join(errs...)
}

// rule returns what holds for a topic: nothing when it is compacted, the first
// rule that names it, or its own settings.
func (k *keeper) rule(topic string) Retention {
	info := k.cluster.TopicInfo(topic)
	if info == nil { // deleted since
		return Retention{}
	}
	own := func(name string) string {
		if v := info.Configs[name]; v != nil {
			return *v
		}
		return ""
	}
	if strings.Contains(own("cleanup.policy"), "compact") {
		return Retention{} // R9: never time retention there
	}
	for _, r := range k.rules {
		if ok, _ := path.Match(r.Topics, topic); ok { // the pattern was checked at start
			return r
		}
	}
	// kfake has checked that both are numbers; -1 means without limit.
	ms, _ := strconv.ParseInt(cmp.Or(own("retention.ms"), "-1"), 10, 64)
	size, _ := strconv.ParseInt(cmp.Or(own("retention.bytes"), "-1"), 10, 64)
	const longest = int64(1<<63-1) / int64(time.Millisecond)
	return Retention{Age: time.Duration(min(max(ms, 0), longest)) * time.Millisecond, Bytes: max(size, 0)}
}

// trim deletes what the rule no longer keeps of one partition.
func (k *keeper) trim(ctx context.Context, topic string, p *kfake.PartitionInfo, rule Retention) error {
	to := p.LogStartOffset
	if rule.Age > 0 {
		at, err := k.inside.offsetAt(ctx, topic, p.Partition, k.now().Add(-rule.Age))
		if err != nil {
			return err
		}
		if at < 0 {
			at = p.HighWatermark
		}
		to = max(to, at)
	}
	if rule.Bytes > 0 {
		first, err := firstKept(partitionDir(k.data, topic, p.Partition), rule.Bytes)
		if err != nil {
			return err
		}
		to = max(to, first)
	}
	if to = keepOne(to, p); to <= p.LogStartOffset {
		return nil
	}
	if err := k.cluster.DeleteRecords(topic, p.Partition, to); err != nil {
		return err
	}
	k.log.Debug("retention applied", "topic", topic, "partition", p.Partition, "from", p.LogStartOffset, "to", to)
	return nil
}

// keepOne moves a new log start back so that the newest record stays: a
// partition without records loses its end offset at the next start.
func keepOne(to int64, p *kfake.PartitionInfo) int64 {
	return max(min(to, p.HighWatermark-1), p.LogStartOffset)
}

// clampDelete keeps clients from emptying a partition: the newest record stays
// whatever they ask for, and the answer says so by its low watermark.
func (b *Broker) clampDelete(req *kmsg.DeleteRecordsRequest) {
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			info := b.cluster.PartitionInfo(t.Topic, p.Partition)
			if info == nil || p.Offset > info.HighWatermark || p.Offset < -1 {
				continue // kfake refuses it
			}
			if p.Offset == -1 {
				p.Offset = info.HighWatermark
			}
			if p.Offset >= info.LogStartOffset {
				p.Offset = keepOne(p.Offset, info)
			}
		}
	}
}

// firstKept returns the base offset of the oldest log file of a partition that
// has to stay so that at least limit bytes do. The newest file always stays.
func firstKept(dir string, limit int64) (int64, error) {
	segments, err := listSegments(dir)
	if err != nil || len(segments) == 0 {
		return 0, err
	}
	kept := int64(0)
	for i, s := range slices.Backward(segments) {
		if kept >= limit {
			return segments[i+1].base, nil
		}
		kept += s.size
	}
	return segments[0].base, nil
}

// segment is one log file of a partition.
type segment struct {
	path string
	base int64 // offset of its first record
	size int64 // bytes
}

// listSegments returns the log files of a partition by offset; none when the
// directory does not exist.
func listSegments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []segment
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".dat")
		base, err := strconv.ParseInt(name, 10, 64)
		if !ok || err != nil {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) { // deleted since
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, segment{path: filepath.Join(dir, e.Name()), base: base, size: info.Size()})
	}
	slices.SortFunc(list, func(a, b segment) int { return cmp.Compare(a.base, b.base) })
	return list, nil
}

// partitionDir is where kfake keeps a partition.
func partitionDir(data, topic string, partition int32) string {
	return filepath.Join(data, "partitions", fmt.Sprintf("%s-%d", url.PathEscape(topic), partition))
}
