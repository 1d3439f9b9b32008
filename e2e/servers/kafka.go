package servers

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/plantloom/plantloom/internal/child"
)

// kafkaVersion names the cache; kafka.pom.xml decides what is installed.
const kafkaVersion = "4.1.1"

//go:embed kafka.pom.xml
var kafkaPOM []byte

// KafkaServer is a single-node Apache Kafka in KRaft mode: broker and
// controller in one process, no automatic creation of topics, one partition of
// the offsets topic, messages flushed by the operating system.
type KafkaServer struct {
	Bootstrap string // host:port for clients; the same after Restart

	t    testing.TB
	libs string
	dir  string
	proc *child.Process
}

// Kafka installs Apache Kafka, formats dir for it if that is new and starts it.
// The directory may come from an earlier KafkaServer that has been stopped.
func Kafka(t testing.TB, dir string) *KafkaServer {
	t.Helper()
	k := &KafkaServer{t: t, libs: kafkaLibs(t), dir: dir}
	k.Bootstrap = fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	k.configure(fmt.Sprintf("127.0.0.1:%d", FreePort(t)))
	if _, err := os.Stat(k.path("data/meta.properties")); err != nil {
		run(t, startLimit, dir, k.java("kafka.tools.StorageTool", "format", "-t", clusterID(), "-c", k.path("server.properties"))...)
	}
	k.start()
	return k
}

// kafkaLibs returns the directory with Kafka's jar files.
func kafkaLibs(t testing.TB) string {
	t.Helper()
	dir := cacheDir(t, "kafka-"+kafkaVersion)
	libs := filepath.Join(dir, "libs")
	apt(t, "java", "openjdk-17-jre-headless")
	once(t, dir, func() {
		mvn := apt(t, "mvn", "maven")
		pom := filepath.Join(dir, "pom.xml")
		if err := os.WriteFile(pom, kafkaPOM, 0o644); err != nil {
			t.Fatal(err)
		}
		// -C: a file whose checksum does not match fails the build.
		run(t, installLimit, dir, mvn, "-B", "-q", "-C", "-f", pom, "dependency:copy-dependencies", "-DoutputDirectory="+libs)
	})
	return libs
}

func (k *KafkaServer) path(name string) string { return filepath.Join(k.dir, name) }

// java returns a command line that runs a class of Kafka: the simple collector
// and compiler start twice as fast as the defaults for servers.
func (k *KafkaServer) java(class string, args ...string) []string {
	return append([]string{
		"java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dlog4j2.configurationFile=" + k.path("log4j2.properties"),
		"-cp", filepath.Join(k.libs, "*"), class,
	}, args...)
}

// clusterID returns a random id as Kafka writes it: 16 bytes, base64 for URLs.
func clusterID() string {
	id := make([]byte, 16)
	rand.Read(id) // never fails
	id[0] &= 0x7f // Kafka refuses an id that begins with "-"
	return base64.RawURLEncoding.EncodeToString(id)
}

// configure writes the two configuration files. A killed broker can register
// again only when its session has timed out, 9 s by default.
func (k *KafkaServer) configure(controller string) {
	k.t.Helper()
	for name, text := range map[string]string{
		"server.properties": `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@` + controller + `
listeners=PLAINTEXT://` + k.Bootstrap + `,CONTROLLER://` + controller + `
advertised.listeners=PLAINTEXT://` + k.Bootstrap + `
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=` + k.path("data") + `
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
`,
		"log4j2.properties": `status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %p %c{1} %m%n
rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
`,
	} {
		if err := os.WriteFile(k.path(name), []byte(text), 0o644); err != nil {
			k.t.Fatal(err)
		}
	}
}

// start runs the broker and waits until it has registered with itself.
func (k *KafkaServer) start() {
	k.t.Helper()
	proc, said := launch(k.t, child.Spec{
		Name: "kafka", Argv: k.java("kafka.Kafka", k.path("server.properties")), Dir: k.dir, Grace: 20 * time.Second,
	})
	k.proc = proc
	await(k.t, "Apache Kafka", proc, said, func(ctx context.Context) error { return answers(ctx, k.Bootstrap) })
}

// answers returns nil when the broker on addr is registered with its
// controller: only then topics can be created.
func answers(ctx context.Context, addr string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RequestRetries(0), kgo.DialTimeout(time.Second))
	if err != nil {
		return err
	}
	defer cl.Close()
	resp, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, cl)
	if err == nil && len(resp.Brokers) == 0 {
		err = errors.New("no broker is registered")
	}
	return err
}

// Stop ends the broker in an orderly way.
func (k *KafkaServer) Stop() {
	k.t.Helper()
	if !k.proc.Stop(20 * time.Second) {
		k.t.Error("Apache Kafka did not stop within 20 s and was killed")
	}
}

// Kill ends the broker with SIGKILL.
func (k *KafkaServer) Kill() { k.proc.Kill() }

// Restart starts a stopped or killed broker again: same address, same data.
func (k *KafkaServer) Restart() {
	k.t.Helper()
	k.start()
}
