package broker

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStartRefusesWhatIsNotSafe(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"every interface":            {func(c *Config) { c.Listen = "0.0.0.0:0" }, `listen address "0.0.0.0:0" is not on the loopback interface`},
		"no host":                    {func(c *Config) { c.Listen = ":9492" }, `listen address ":9492" is not on the loopback interface`},
		"an address of a network":    {func(c *Config) { c.Listen = "192.0.2.1:9492" }, "use 127.0.0.1, or a Kafka cluster"},
		"every interface, version 6": {func(c *Config) { c.Listen = "[::]:0" }, "not on the loopback interface"},
		"no port":                    {func(c *Config) { c.Listen = "localhost" }, "want host:port"},
		"no directory":               {func(c *Config) { c.Dir = "" }, "a data directory is needed"},
		"no clock":                   {func(c *Config) { c.Now = nil }, "a clock is needed"},
		"a tiny frame":               {func(c *Config) { c.MaxFrame = 100 }, "the largest frame is 100 bytes"},
		"a tiny segment":             {func(c *Config) { c.SegmentBytes = 0 }, "the segment size is 0 bytes"},
		"a pattern without an end":   {func(c *Config) { c.Retention = []Retention{{Topics: "[a"}} }, `pattern "[a" of topics`},
		"a negative age":             {func(c *Config) { c.Retention = []Retention{{Topics: "a", Age: -1}} }, "a negative age"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig(filepath.Join(t.TempDir(), "new"))
			c.change(&cfg)
			b, err := Start(t.Context(), cfg)
			if err == nil {
				b.Close()
				t.Fatal("the broker started")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not say %q", err, c.want)
			}
			if _, err := os.Stat(cfg.Dir); cfg.Dir != "" && err == nil {
				t.Error("a refused start has left a directory")
			}
		})
	}
}

func TestADataDirectoryHasOneBroker(t *testing.T) {
	t.Parallel()
	cfg := testConfig(filepath.Join(t.TempDir(), "a", "b"))
	b := startBroker(t, cfg)
	info, err := os.Stat(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o700 {
		t.Errorf("mode of the directory is %o, want 700", got)
	}
	_, err = Start(t.Context(), cfg)
	if want := fmt.Sprintf("%s is in use by process %d", cfg.Dir, os.Getpid()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("second broker: %v, want an error with %q", err, want)
	}
	closeBroker(t, b)
	startBroker(t, cfg)
}

func TestAStartThatFailsReleasesTheDirectory(t *testing.T) {
	t.Parallel()
	first := startBroker(t, testConfig(t.TempDir()))
	cfg := testConfig(t.TempDir())
	cfg.Listen = first.Addr()
	if _, err := Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "binding the address") {
		t.Fatalf("second broker on one address: %v", err)
	}
	cfg.Listen = "127.0.0.1:0"
	startBroker(t, cfg)
}

func TestDamagedStateIsNotOverwritten(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.TempDir())
	closeBroker(t, startBroker(t, cfg))
	meta := filepath.Join(dataDir(cfg.Dir), "meta.json")
	if err := os.WriteFile(meta, []byte(`{"version":1,"clu`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), cfg.Dir) || !strings.Contains(err.Error(), "meta.json") {
		t.Fatalf("error %v, want one that names the directory and meta.json", err)
	}
}

func TestUsersLeftOnDiskAreForgotten(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.TempDir())
	closeBroker(t, startBroker(t, cfg))
	for _, name := range []string{"sasl.json", "acls.json"} {
		path := filepath.Join(dataDir(cfg.Dir), name)
		if err := os.WriteFile(path, []byte("from an earlier time, not even JSON"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	startBroker(t, cfg)
}

func TestRecordsSurviveACleanStopAndACrash(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.TempDir())
	b := startBroker(t, cfg)
	createTopic(t, b.Addr(), "odd %name-1", 2)
	createTopic(t, b.Addr(), "t", 1)
	want := numbered("a", 50)
	produce(t, client(t, b.Addr()), "t", want...)
	closeBroker(t, b)

	b = startBroker(t, cfg)
	if diff := cmp.Diff(want, consume(t, b.Addr(), "t", len(want))); diff != "" {
		t.Errorf("after a clean stop (-want +got):\n%s", diff)
	}
	more := numbered("b", 50)
	produce(t, client(t, b.Addr()), "t", more...)
	want = append(want, more...)

	b = startBroker(t, crash(t, b))
	if diff := cmp.Diff(want, consume(t, b.Addr(), "t", len(want))); diff != "" {
		t.Errorf("after a crash (-want +got):\n%s", diff)
	}
}
