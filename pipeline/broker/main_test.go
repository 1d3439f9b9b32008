package broker

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/plantloom/plantloom/internal/child"
)

// The test binary plays the child processes of these tests.
const (
	envRole = "BROKER_TEST_ROLE" // "broker": serve; "parent": run a broker as a child and wait to be killed
	envDir  = "BROKER_TEST_DIR"
	envAddr = "BROKER_TEST_ADDR"
)

func TestMain(m *testing.M) {
	switch os.Getenv(envRole) {
	case "broker":
		serve(os.Getenv(envDir), os.Getenv(envAddr))
	case "parent":
		parent(os.Getenv(envAddr))
	default:
		os.Exit(m.Run())
	}
}

// serve is what "plantloom broker" does.
func serve(dir, addr string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if child.Supervised() {
		ctx = WatchStdin(ctx, os.Stdin)
	}
	cfg := testConfig(dir)
	cfg.Listen = addr
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	b, err := Start(ctx, cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	<-ctx.Done()
	if err := b.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// parent runs a broker as its child and prints the child's pid when it is ready.
func parent(addr string) {
	c := NewChild([]string{os.Args[0]}, addr, slog.New(slog.DiscardHandler))
	os.Setenv(envRole, "broker")
	go c.Run(context.Background())
	<-c.Ready()
	fmt.Println(c.Pid())
	select {}
}

func testConfig(dir string) Config {
	cfg := DefaultConfig()
	cfg.Dir, cfg.Listen, cfg.Now = dir, "127.0.0.1:0", time.Now
	return cfg
}

// startBroker starts a broker and stops it at the end of the test unless the
// test has done so.
func startBroker(t *testing.T, cfg Config) *Broker {
	t.Helper()
	b, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	return b
}

func closeBroker(t *testing.T, b *Broker) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// crash leaves the directory as a killed process would: kfake writes its
// segments with plain writes, so a copy of the files is what a kill leaves.
func crash(t *testing.T, b *Broker) Config {
	t.Helper()
	cfg := b.cfg
	cfg.Dir = t.TempDir()
	cfg.Listen = "127.0.0.1:0"
	if err := os.CopyFS(dataDir(cfg.Dir), os.DirFS(dataDir(b.cfg.Dir))); err != nil {
		t.Fatal(err)
	}
	closeBroker(t, b)
	return cfg
}

// client returns a client that is closed after the test. Nobody waits for the
// close: it takes a second when the broker is gone already.
func client(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addr), kgo.MetadataMinAge(20 * time.Millisecond)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { go cl.Close() })
	return cl
}

// createTopic creates a topic; pairs are names and values of its settings.
func createTopic(t *testing.T, addr, name string, partitions int32, pairs ...string) {
	t.Helper()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	for i := 0; i < len(pairs); i += 2 {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = pairs[i], &pairs[i+1]
		topic.Configs = append(topic.Configs, c)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(t.Context(), client(t, addr))
	if err != nil {
		t.Fatal(err)
	}
	if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
		t.Fatal(err)
	}
}

// produce writes values one by one, each acknowledged before the next.
func produce(t *testing.T, cl *kgo.Client, topic string, values ...string) {
	t.Helper()
	for _, v := range values {
		r := &kgo.Record{Topic: topic, Value: []byte(v)}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatalf("producing %s: %v", v, err)
		}
	}
}

func numbered(prefix string, n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("%s%d", prefix, i))
	}
	return list
}

// consume reads the committed records of a topic from its beginning until want
// values were read; it returns what arrived.
func consume(t *testing.T, addr, topic string, want int) []string {
	t.Helper()
	cl := client(t, addr, kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(100*time.Millisecond))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var got []string
	for len(got) < want {
		fs := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("read %d of %d values: %v", len(got), want, got)
		}
		fs.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	return got
}

// logBuffer collects log lines from several goroutines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) contains(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), s)
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// freeAddr returns a loopback address on which nothing listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
