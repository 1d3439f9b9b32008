//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// A plant directory with a mistake is refused before anything starts, with the place and the way out.
func TestPlantDirectoriesAreRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file string
		fn   func(text string) string
		says []string
	}{
		"a missing tag list": {
			"plant.yaml", replace("tags: tags.csv", "tags: tag.csv"), []string{"plant.yaml:", "tag.csv", `"tags.csv"`},
		},
		"a missing mapping file": {
			"lines.plant.yaml", replace("line.map.yaml", "lines.map.yaml"), []string{"lines.plant.yaml:1:", "lines.map.yaml", `"line.map.yaml"`},
		},
		"a missing machine table": {
			"lines.plant.yaml", replace("machines: lines.csv", "machines: line.csv"), []string{"lines.plant.yaml:2:", "line.csv", `"lines.csv"`},
		},
		"a mapping with a tag that no list has": {
			"line.map.yaml", replace(`"${plc}/Cnt.Good"`, `"${plc}/Cnt.Goood"`), []string{"line.map.yaml:", "L1/Cnt.Goood", `"L1/Cnt.Good"`},
		},
		"an unknown kind of source": {
			"plant.yaml", replace("kind: opcua", "kind: opcuaa"), []string{"plant.yaml:", `"opcuaa"`, `"opcua"`},
		},
		"an unknown key": {
			"plant.yaml", replace("endpoint:", "endpiont:"), []string{"plant.yaml:", "endpiont", `"endpoint"`},
		},
		"neither an embedded broker nor a cluster": {
			"plant.yaml", replace("embedded: true", "embedded: false"), []string{"plant.yaml:", "embedded: true"},
		},
		"a password in the file": {
			"plant.yaml", replace("env:PLANTLOOM_DEMO_ERP_PASSWORD}}\n    timeout: 5s\n    orders", "hunter2}}\n    timeout: 5s\n    orders"), []string{"plant.yaml:", "env:NAME"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.change(c.file, func(text string) string {
				changed := c.fn(text)
				if changed == text {
					t.Fatalf("%s does not have what the test wants to change", c.file)
				}
				return changed
			})
			said := refuse(t, "run", "--config", w.config, "--state-dir", w.state)
			contains(t, "the refusal", said, c.says...)
			if strings.Contains(said, "hunter2") {
				t.Errorf("the refusal prints the password:\n%s", said)
			}
			if _, err := os.Stat(w.state); err == nil {
				t.Error("a state directory was made")
			}
		})
	}
	t.Run("no plant.yaml", func(t *testing.T) {
		contains(t, "the refusal", refuse(t, "run", "--config", t.TempDir()), "plant.yaml", "no such file")
	})
	t.Run("an unknown role", func(t *testing.T) {
		w := newWorld(t)
		contains(t, "the refusal", refuse(t, "run", "--config", w.config, "--state-dir", w.state, "--roles", "collekt"), "collekt", "collect, map, deliver, serve")
	})
}

func replace(old, new string) func(string) string {
	return func(text string) string { return strings.Replace(text, old, new, 1) }
}

// Whatever is away or wrong while the plant runs is said, nothing is lost, and the rest goes on.
func TestWhatIsAwayOrWrongIsSaidAndNothingIsLost(t *testing.T) {
	t.Parallel()
	const ghost = "L1/Ghost,nsu=urn:plantloom:demo:plant;s=L1.Ghost,demo/riverside/bottling/L1,int,,"
	w := newWorld(t, withTag(ghost))
	w.startERP(password, 0)
	w.startPlant(3)

	t.Run("Kafka is away at the start", w.kafkaAwayAtStart)
	t.Run("a tag that the server does not have", func(t *testing.T) {
		contains(t, "the reason", w.within(t).awaitReason("source/line", "L1/Ghost", 20*time.Second), "1 of ", "L1.Ghost")
		if code, body := w.get("/readyz"); code != http.StatusOK {
			t.Errorf("one bad tag makes the plant not ready: %s", body)
		}
	})
	t.Run("a second process with the same state directory", func(t *testing.T) {
		contains(t, "the refusal", refuse(t, "run", "--config", w.config, "--state-dir", w.state), "in use", w.state)
	})
	t.Run("a port that is in use", w.portInUse)
	t.Run("another plant's broker has the port", w.brokerPortInUse)
	t.Run("the ERP is away in the middle", w.erpAway)
	t.Run("the ERP's password is wrong", w.wrongPassword)
	w.agree(60*time.Second, nil)
	if dead := w.deadLetters(); len(dead) > 0 {
		t.Errorf("dead letters: %v", dead)
	}
}

// within is the world with its failures counted for a subtest.
func (w *world) within(t *testing.T) *world {
	inner := *w
	inner.t = t
	return &inner
}

func (w *world) kafkaAwayAtStart(t *testing.T) {
	w = w.within(t)
	w.startPlantloom("collect", "map", "deliver", "serve")
	reason := w.awaitReason("kafka", ".", 20*time.Second)
	contains(t, "the reason", reason, addr(w.ports.kafka))
	code, body := w.get("/readyz")
	if code != http.StatusServiceUnavailable {
		t.Errorf("ready without Kafka: %d", code)
	}
	contains(t, "/readyz", body, "kafka: ", addr(w.ports.kafka))
	contains(t, "plantloom status", refuse(t, "status", "--addr", w.url("")), "not ready", "kafka", "DOWN")
	w.startPlantloom("broker")
	w.awaitReady(30 * time.Second)
	w.awaitFinals(1, 0, 60*time.Second)
}

// portInUse starts another plant whose API has the ports of the first. Its API cannot start; it says so and does not
// end, and the first plant is not disturbed.
func (w *world) portInUse(t *testing.T) {
	w = w.within(t)
	other := newWorld(t)
	other.change("plant.yaml", func(text string) string {
		text = strings.Replace(text, addr(other.ports.http), addr(w.ports.http), 1)
		return strings.Replace(text, addr(other.ports.grpc), addr(w.ports.grpc), 1)
	})
	other.startPlantloom()
	until(t, 20*time.Second, "the other plant says why its API does not start", func() string {
		if log := other.log("plantloom"); strings.Contains(log, "listening on "+addr(w.ports.grpc)) && strings.Contains(log, "is another plantloom running?") {
			return ""
		}
		return "its log does not"
	})
	other.stop("plantloom")
	w.awaitReady(time.Second)
}

// brokerPortInUse starts another plant that is told to run its broker where the first one's listens. It must not work
// on the first plant's log.
func (w *world) brokerPortInUse(t *testing.T) {
	w = w.within(t)
	other := newWorld(t)
	other.change("plant.yaml", replace(addr(other.ports.kafka), addr(w.ports.kafka)))
	other.startPlantloom()
	until(t, 20*time.Second, "the other plant says why it does not start", func() string {
		if strings.Count(other.log("plantloom"), addr(w.ports.kafka)+" is taken by another program") > 4 { // 100 ms to 1.6 s apart
			return ""
		}
		return "its log does not"
	})
	other.stop("plantloom")
	w.awaitReady(5 * time.Second)
	for _, name := range []string{"plantloom-collect+map+deliver+serve", "plantloom-broker"} {
		if strings.Contains(w.log(name), "fenced") {
			t.Errorf("the other plant has fenced the first one: see %s", name)
		}
	}
}

func (w *world) erpAway(t *testing.T) {
	w = w.within(t)
	w.kill("erp")
	contains(t, "the reason", w.awaitReason("sink/erp", "refused", 60*time.Second), addr(w.ports.erp))
	contains(t, "the reason", w.awaitReason("source/orders", "refused", 20*time.Second), addr(w.ports.erp))
	// The floor goes on: orders end while nobody takes their confirmation.
	before := len(w.orders("state=COMPLETED"))
	until(t, 60*time.Second, "three more orders are completed while the ERP is away", func() string {
		if n := len(w.orders("state=COMPLETED")) - before; n < 3 {
			return fmt.Sprintf("%d are", n)
		}
		return ""
	})
	contains(t, "the reason", w.component("sink/erp").GetReason(), "refused", addr(w.ports.erp))
}

// wrongPassword starts the ERP again, which now asks for another password, and then for the right one.
func (w *world) wrongPassword(t *testing.T) {
	w = w.within(t)
	w.startERP("changed", 0)
	contains(t, "the reason", w.awaitReason("sink/erp", "401", 90*time.Second), "password")
	contains(t, "the reason", w.awaitReason("source/orders", "401", 40*time.Second), "password")
	if reason := w.component("sink/erp").GetReason(); strings.Contains(reason, password+"\"") {
		t.Errorf("the reason shows the password: %s", reason)
	}
	w.stop("erp")
	w.startERP(password, 0)
	w.awaitRunning("sink/erp", 90*time.Second)
	w.awaitRunning("source/orders", 60*time.Second)
	done, _ := finals(w.mustBooks())
	w.awaitFinals(len(done)+1, 1, 90*time.Second)
}
