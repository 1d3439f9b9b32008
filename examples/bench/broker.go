package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/plantloom/plantloom/pipeline/broker"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// namespace of the topics.
const namespace = "bench"

// brokerJob says how the embedded broker runs.
type brokerJob struct {
	Dir   string
	Fsync bool
}

type brokerUp struct{ Addr string }

// serveBroker is the child that holds the embedded broker: each word that comes is answered with what it has used.
func serveBroker(ctx context.Context, p parent, now func() time.Time) error {
	var job brokerJob
	if err := p.dec.Decode(&job); err != nil {
		return fmt.Errorf("reading the broker's job: %w", err)
	}
	cfg := broker.DefaultConfig()
	cfg.Dir, cfg.Listen, cfg.Fsync, cfg.Now = job.Dir, "127.0.0.1:0", job.Fsync, now
	b, err := broker.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer b.Close()
	if err := p.enc.Encode(brokerUp{b.Addr()}); err != nil {
		return fmt.Errorf("telling the broker's address: %w", err)
	}
	for {
		var word string
		if err := p.dec.Decode(&word); errors.Is(err, io.EOF) {
			return b.Close()
		} else if err != nil {
			return fmt.Errorf("reading a request: %w", err)
		}
		u, err := used()
		if err != nil {
			return err
		}
		if err := p.enc.Encode(u); err != nil {
			return fmt.Errorf("telling what the broker used: %w", err)
		}
	}
}

// brokerProc is a broker of our own in a new directory.
type brokerProc struct {
	*proc
	addr, dir string
}

// startBroker starts a broker on a new directory below dir.
func startBroker(ctx context.Context, dir string, fsync bool) (*brokerProc, error) {
	own, err := os.MkdirTemp(dir, "plantloom-bench-")
	if err != nil {
		return nil, fmt.Errorf("making the broker's directory: %w", err)
	}
	p, err := spawn(ctx, roleBroker, brokerJob{Dir: own, Fsync: fsync})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(own))
	}
	b := &brokerProc{proc: p, dir: own}
	var up brokerUp
	if err := p.answer(&up); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	b.addr = up.Addr
	return b, nil
}

// usage is what the broker has used so far.
func (b *brokerProc) usage() (u usage, err error) {
	return u, b.ask("usage", &u)
}

// stop ends the broker and removes its directory.
func (b *brokerProc) stop() error {
	return errors.Join(b.close(), os.RemoveAll(b.dir))
}

// topicBytes sums the sizes of the broker's files by topic without namespace.
func (b *brokerProc) topicBytes() (map[string]int64, error) {
	sizes := map[string]int64{}
	root := filepath.Join(b.dir, "data", "partitions")
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		topic := filepath.Base(filepath.Dir(name)) // topic-partition
		topic = topic[:max(0, strings.LastIndexByte(topic, '-'))]
		sizes[strings.TrimPrefix(topic, namespace+".")] += info.Size()
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the sizes of the broker's files: %w", err)
	}
	return sizes, nil
}

// open connects to a broker of ours and makes its topics.
func open(ctx context.Context, addr string, partitions int, now func() time.Time) (*kafka.Client, error) {
	c, err := kafka.Open(kafka.Config{
		Brokers: []string{addr}, Namespace: namespace, Partitions: partitions, Embedded: true, ClientID: "plantloom-bench",
		Log: quiet(), Now: now,
	})
	if err != nil {
		return nil, fmt.Errorf("opening Kafka: %w", err)
	}
	if err := c.EnsureTopics(ctx, kafka.Topics(namespace, partitions, nil)); err != nil {
		c.Close()
		return nil, fmt.Errorf("making the topics: %w", err)
	}
	return c, nil
}
