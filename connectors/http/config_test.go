package http_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plantloom/plantloom/connectors/http"
	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/pipeline"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestEveryFaultIsReportedInOnePassAtItsPlace(t *testing.T) {
	t.Parallel()
	var faults conf.Faults
	file := conf.ParseFile("testdata/faults.yaml", &faults)
	conf.Decode(file.Root, http.Kind().Config(), &faults)
	var out strings.Builder
	for _, f := range faults.All() {
		fmt.Fprintln(&out, f.Error())
	}
	golden(t, "testdata/faults.golden", out.String())
	if strings.Contains(out.String(), "hunter2") {
		t.Error("a fault shows the password")
	}
}

func TestASinkNeedsRoutesAndASourceNeedsOrders(t *testing.T) {
	t.Parallel()
	kind := http.Kind()
	for _, c := range []struct {
		file, role, want string
	}{
		{"erp-sink.yaml", "source", "needs orders"},
		{"erp-source.yaml", "sink", "needs routes"},
	} {
		config := decode(t, "testdata/"+c.file, "http://127.0.0.1:1", nil)
		var err error
		if c.role == "sink" {
			_, err = kind.Sink(config, newHost(t).Host)
		} else {
			_, err = kind.Source(config, newHost(t).Host)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s as a %s: %v", c.file, c.role, err)
		}
	}
}

func TestAMissingOrEmptyCAFileIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	host := newHost(t)
	if err := os.WriteFile(filepath.Join(host.Dir, "empty.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"none.pem": "reading tls.ca_file", "empty.pem": "no certificate"} {
		config := decode(t, "testdata/erp-sink.yaml", "https://127.0.0.1:1", func(c *http.Config) { c.TLS.CAFile = file })
		if _, err := http.Kind().Sink(config, host.Host); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// decode reads a configuration of testdata for the server at url.
func decode(t *testing.T, path, url string, change func(*http.Config)) *http.Config {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return decodeText(t, strings.Replace(string(text), "http://127.0.0.1:8490", url, 1), change)
}

// decodeText reads a configuration whose secrets stand beside it.
func decodeText(t *testing.T, text string, change func(*http.Config)) *http.Config {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte("pw\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var faults conf.Faults
	file := conf.Parse(filepath.Join(dir, "plant.yaml"), []byte(text), &faults)
	config := http.Kind().Config().(*http.Config)
	conf.Decode(file.Root, config, &faults)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(config)
	}
	return config
}

func newSink(t *testing.T, config *http.Config) (pipeline.Sink, *testHost) {
	t.Helper()
	host := newHost(t)
	sink, err := http.Kind().Sink(config, host.Host)
	if err != nil {
		t.Fatal(err)
	}
	return sink, host
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}
