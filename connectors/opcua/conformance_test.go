package opcua_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/gopcua/opcua/ua"
	"go.uber.org/goleak"

	"github.com/plantloom/plantloom/connectors/opcua"
	"github.com/plantloom/plantloom/internal/uaserver"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/pipelinetest"
)

// device is a server with history, which a restart keeps.
type device struct {
	history *uaserver.MemoryHistory
	dir     string
	tags    []pipeline.Tag

	mu     sync.Mutex
	addr   string
	srv    *uaserver.Server
	values map[string]uaserver.Variable // by tag
}

func newDevice(tb testing.TB, tags []string) *device {
	d := &device{history: &uaserver.MemoryHistory{}, dir: tb.TempDir(), addr: "127.0.0.1:0", values: map[string]uaserver.Variable{}}
	for _, tag := range tags {
		d.tags = append(d.tags, pipeline.Tag{ID: tag, Address: fmt.Sprintf("nsu=%s;s=%s", namespace, tag), Asset: "a/b/c/L1"})
		d.values[tag] = uaserver.Variable{Value: int64(-1), At: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), Historize: true}
	}
	d.Start(tb)
	tb.Cleanup(func() { d.Stop(tb) })
	return d
}

func (d *device) Source(tb testing.TB) pipeline.Source {
	tb.Helper()
	c := opcua.Kind().Config().(*opcua.Config)
	c.Endpoint = "opc.tcp://" + d.addr
	c.Security = opcua.Security{Policy: opcua.PolicyNone, Mode: opcua.SignAndEncrypt, AllowInsecure: true}
	c.PublishingInterval, c.SamplingInterval, c.QueueSize, c.KeepaliveInterval = 20*time.Millisecond, 0, 1000, 200*time.Millisecond
	src, err := opcua.Kind().Source(c, pipeline.Host{
		ID: "plc", Log: slog.New(slog.DiscardHandler), Now: time.Now, Dir: d.dir, StateDir: d.dir, Tags: d.tags,
		Report: func(pipeline.Status) {}, Count: func(string, float64) {}, Gauge: func(string, float64) {},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return src
}

func (d *device) server() *uaserver.Server {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.srv
}

func (d *device) Ready(tb testing.TB) {
	tb.Helper()
	end := time.After(patience)
	for {
		if st := d.server().Stats(); st.PublishRequests > 0 && st.MonitoredItems == len(d.tags) {
			return
		}
		select {
		case <-end:
			tb.Fatalf("the source is not there: %+v", d.server().Stats())
		case <-time.After(time.Millisecond):
		}
	}
}

func (d *device) Put(tb testing.TB, readings ...pipelinetest.Reading) {
	tb.Helper()
	srv := d.server()
	srv.Update(func(tx *uaserver.Tx) {
		for _, r := range readings {
			v := d.values[r.Tag]
			v.Value, v.Status, v.At = r.Value.AsInt(), ua.StatusCode(r.Quality), r.At
			d.values[r.Tag] = v
		}
	})
	for _, r := range readings {
		srv.Var(r.Tag).Set(r.Value.AsInt(), ua.StatusCode(r.Quality), r.At)
	}
}

func (d *device) Stop(tb testing.TB) {
	tb.Helper()
	if err := d.server().Close(); err != nil {
		tb.Error(err)
	}
}

func (d *device) Start(tb testing.TB) {
	tb.Helper()
	srv, err := uaserver.New(uaserver.Options{NamespaceURI: namespace, Now: time.Now, Lean: true, Addr: d.addr, History: d.history})
	if err != nil {
		tb.Fatal(err)
	}
	for tag, v := range d.values {
		srv.Add(tag, v)
	}
	if err := srv.Start(context.Background()); err != nil {
		tb.Fatal(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.srv, d.addr = srv, srv.URL()[len("opc.tcp://"):]
}

func TestTheSourceIsAConformingOne(t *testing.T) {
	tags := []string{"A", "B", "C"}
	pipelinetest.Source(t, pipelinetest.SourceFixture{
		Device:    func(tb testing.TB) pipelinetest.Device { return newDevice(tb, tags) },
		Tags:      tags,
		Qualities: []pipeline.Quality{pipeline.Good, pipeline.GoodLocalOverride, pipeline.Uncertain, pipeline.BadSensorFailure},
		Commands:  true,
		Goroutines: []goleak.Option{ // of the test double
			goleak.IgnoreAnyFunction("github.com/plantloom/plantloom/internal/uaserver.(*gate).run"),
			goleak.IgnoreAnyFunction("github.com/plantloom/plantloom/internal/uaserver.(*Server).startLean.func2"),
			goleak.IgnoreAnyFunction("github.com/plantloom/plantloom/internal/uaserver.(*subscription).run"), // kept for the next start
		},
	})
}
