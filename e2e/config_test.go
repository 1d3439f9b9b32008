//go:build e2e

package e2e

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/plantloom/plantloom/e2e/servers"
)

// edit changes the copy of the plant directory before anything is started.
type edit func(w *world)

// change rewrites a file of the plant directory.
func (w *world) change(name string, fn func(string) string) {
	w.t.Helper()
	path := filepath.Join(w.config, name)
	text, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(name, fn(string(text)))
}

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.config, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// swap replaces what must be there exactly once.
func (w *world) swap(text, old, new string) string {
	w.t.Helper()
	if n := strings.Count(text, old); n != 1 {
		w.t.Fatalf("plant.yaml of the example has %q %d times, the test expects it once", old, n)
	}
	return strings.Replace(text, old, new, 1)
}

// freePorts gives every address of the example a port of this test's.
func freePorts(w *world) {
	port := map[string]int{"8480": w.ports.http, "8481": w.ports.grpc, "4841": w.ports.plant, "8490": w.ports.erp}
	w.change("plant.yaml", func(text string) string {
		text = regexp.MustCompile(`127\.0\.0\.1:(\d+)`).ReplaceAllStringFunc(text, func(a string) string {
			p, ok := port[strings.TrimPrefix(a, "127.0.0.1:")]
			if !ok {
				w.t.Fatalf("plant.yaml of the example has the address %s, which this test does not know", a)
			}
			return addr(p)
		})
		return w.swap(text, "kafka: {embedded: true}", fmt.Sprintf("kafka: {embedded: true, listen: %q}", addr(w.ports.kafka)))
	})
}

// ownHistorian puts the SQLite file of line L9 into the test's directory.
func ownHistorian(w *world) {
	file := w.path("plant/historian.sqlite")
	w.historian = []string{"--historian", file}
	w.change("plant.yaml", func(text string) string {
		return regexp.MustCompile(`(\bfile: *)[^\s,}]*historian\.sqlite`).ReplaceAllString(text, "${1}"+file)
	})
}

// onKafka takes a cluster instead of the embedded broker.
func onKafka(bootstrap string) edit {
	return func(w *world) {
		w.change("plant.yaml", func(text string) string {
			return w.swap(text, fmt.Sprintf("kafka: {embedded: true, listen: %q}", addr(w.ports.kafka)),
				fmt.Sprintf("kafka: {brokers: [%q], partitions: 4}", bootstrap))
		})
	}
}

// onPostgres keeps the history of line L9 in PostgreSQL.
func onPostgres(dsn string) edit {
	return func(w *world) {
		u, err := url.Parse(dsn)
		if err != nil {
			w.t.Fatal(err)
		}
		secret, _ := u.User.Password()
		u.User = url.User(u.User.Username())
		w.write("historian.password", secret+"\n")
		w.historian = []string{"--historian-driver", "postgres", "--historian", dsn}
		w.change("plant.yaml", func(text string) string {
			text = w.swap(text, "driver: sqlite", "driver: postgres")
			return regexp.MustCompile(`(\n *)file: [^\n]*historian\.sqlite[^\n]*`).ReplaceAllString(text,
				"${1}url: "+u.String()+"${1}password: file:historian.password")
		})
	}
}

// onNodeOPCUA takes line L1 from a server of another maker; the simulated plant keeps the other lines.
func onNodeOPCUA(s *servers.OPCUAServer) edit {
	return func(w *world) {
		var l1 string
		w.change("tags.csv", func(text string) string {
			head, rest, _ := strings.Cut(text, "\n")
			l1 = head + "\n"
			others := head + "\n"
			for line := range strings.Lines(rest) {
				if strings.HasPrefix(line, "L1/") {
					l1 += line
				} else {
					others += line
				}
			}
			return others
		})
		w.write("node.tags.csv", l1)
		w.change("plant.yaml", func(text string) string {
			return w.swap(text, "\nsources:\n", `
sources:
  node:
    kind: opcua
    endpoint: `+s.Endpoint+`
    security: {policy: Basic256Sha256, mode: SignAndEncrypt}
    auth: {user: plantloom, password: file:node.password}
    tags: node.tags.csv
`)
		})
	}
}

// withTag adds a row to the tag list of the simulated plant.
func withTag(row string) edit {
	return func(w *world) {
		w.change("tags.csv", func(text string) string { return strings.TrimRight(text, "\n") + "\n" + row + "\n" })
	}
}

func number(text string) float64 {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0 // an empty quantity
	}
	return n
}
