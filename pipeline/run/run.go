package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/internal/child"
	"github.com/plantloom/plantloom/internal/wait"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/broker"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// Roles are what a process can do; all of them together on one box.
var Roles = []string{"broker", "collect", "map", "deliver", "serve"}

// Options say how a plant runs in this process.
type Options struct {
	Plant   *Plant
	Roles   []string // of Roles
	Isolate bool     // run each role as a child process of its own
	Self    []string // program and leading arguments to start a child with, for the broker and for Isolate
	Version string
	Log     *slog.Logger
	Now     func() time.Time
	// Serve runs the API until ctx ends; the gateway is handed in so that this package does not know it.
	Serve func(ctx context.Context, s Serving) error
	// Unsafe breaks the order of steps on purpose, for the crash laboratory's proof that it would notice.
	Unsafe bool
}

// Serving is what the API is built on.
type Serving struct {
	Plant     *Plant
	Client    *kafka.Client
	Local     func() *inboxv1.StatusReport // of this process, also while Kafka is away
	Component func(pipeline.Status)
	Version   string
	Log       *slog.Logger
	Now       func() time.Time
}

// process is one run of a plant.
type process struct {
	o        Options
	reg      *registry
	client   *kafka.Client
	instance string
}

// Run runs the plant until ctx ends, then it stops everything and returns nil. It returns an error when the plant
// cannot run at all: the state directory is in use, or a role is unknown.
func Run(ctx context.Context, o Options) error {
	if err := checkRoles(o.Roles); err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("reading the host's name: %w", err)
	}
	p := &process{o: o, reg: newRegistry(o.Now), instance: fmt.Sprintf("%s/%s", host, strings.Join(o.Roles, "+"))}
	locks := o.Roles
	if o.Isolate {
		locks = []string{"supervisor"} // the children take the roles' locks
	}
	unlock, err := lockState(o.Plant.File.StateDir, locks)
	if err != nil {
		return err
	}
	defer unlock()
	if p.client, err = p.openKafka(); err != nil {
		return err
	}
	defer p.client.Close()
	// The broker outlives the roles, so that what they finish while they stop is still written.
	brokerCtx, stopBroker := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBroker()
	var brokers errgroup.Group
	if o.Plant.File.Kafka.Embedded && slices.Contains(o.Roles, "broker") {
		b := p.newBroker()
		brokers.Go(func() error { return p.runBroker(brokerCtx, b) })
		select { // a foreign broker on our port is never taken for ours
		case <-b.Ready():
		case <-ctx.Done():
		}
	}
	err = p.runAll(ctx)
	stopBroker()
	return errors.Join(err, brokers.Wait())
}

// runAll runs every role but the broker, in this process or each in a child of its own.
func (p *process) runAll(ctx context.Context) error {
	if !p.o.Isolate {
		return p.runRoles(ctx)
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, role := range p.o.Roles {
		if role != "broker" {
			g.Go(func() error { return p.runRole(ctx, role) })
		}
	}
	return g.Wait()
}

func checkRoles(roles []string) error {
	if len(roles) == 0 {
		return errors.New("no role to run; roles are " + strings.Join(Roles, ", "))
	}
	for _, r := range roles {
		if !slices.Contains(Roles, r) {
			return fmt.Errorf("unknown role %q; roles are %s", r, strings.Join(Roles, ", "))
		}
	}
	return nil
}

func (p *process) openKafka() (*kafka.Client, error) {
	k := p.o.Plant.File.Kafka
	brokers := k.Brokers
	if k.Embedded {
		brokers = []string{k.Listen}
	}
	return kafka.Open(kafka.Config{
		Brokers: brokers, Namespace: p.o.Plant.File.Namespace, Partitions: k.Partitions, Embedded: k.Embedded,
		ClientID: "plantloom", Log: p.o.Log, Now: p.o.Now,
	})
}

// newBroker is the embedded broker, not started yet.
func (p *process) newBroker() *broker.Child {
	k := p.o.Plant.File.Kafka
	argv := append(slices.Clone(p.o.Self), "broker", "--dir", filepath.Join(p.o.Plant.File.StateDir, "broker"), "--listen", k.Listen, fmt.Sprintf("--fsync=%v", k.Fsync))
	for _, t := range p.topics() {
		if t.Retention > 0 {
			argv = append(argv, "--retain", fmt.Sprintf("%s=%s", t.Name, t.Retention))
		}
	}
	return broker.NewChild(argv, k.Listen, p.o.Log)
}

// runBroker keeps the embedded broker running as a child process: its crash never takes the plant down.
func (p *process) runBroker(ctx context.Context, b *broker.Child) error {
	c := p.reg.component("broker", "broker")
	var ready errgroup.Group
	ready.Go(func() error {
		select {
		case <-b.Ready():
			c.report(pipeline.Status{State: pipeline.Running, Details: map[string]string{"listen": p.o.Plant.File.Kafka.Listen}})
		case <-ctx.Done():
		}
		return nil
	})
	err := errors.Join(b.Run(ctx), ready.Wait())
	c.report(pipeline.Status{State: pipeline.Stopped})
	return err
}

// runRole runs one role as a child process.
func (p *process) runRole(ctx context.Context, role string) error {
	c := p.reg.component("process", "process/"+role)
	argv := append(slices.Clone(p.o.Self), "run", "--config", p.o.Plant.Dir, "--state-dir", p.o.Plant.File.StateDir, "--roles", role)
	return p.superviseChild(ctx, child.Spec{Name: role, Argv: argv, Stdout: os.Stdout, Stderr: os.Stderr}, c)
}

func (p *process) superviseChild(ctx context.Context, spec child.Spec, c *component) error {
	return child.Supervise(ctx, spec, p.o.Log, func(s child.State) {
		st := pipeline.Status{State: pipeline.Starting}
		switch s.Phase {
		case child.Ready:
			st.State = pipeline.Running
		case child.Down:
			st = pipeline.Status{State: pipeline.Down, Reason: fmt.Sprintf("the process ended (%v); starting it again", s.Err)}
			c.count("restarts", 1)
		case child.Stopped:
			st.State = pipeline.Stopped
		case child.Starting:
		}
		c.report(st)
	})
}

// runRoles waits for Kafka, makes the topics, and runs this process's roles.
func (p *process) runRoles(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	serve := slices.Contains(p.o.Roles, "serve")
	if serve {
		c := p.reg.component("api", "api")
		g.Go(func() error {
			return p.keep(ctx, c, func(ctx context.Context) error {
				return p.o.Serve(ctx, Serving{Plant: p.o.Plant, Client: p.client, Local: p.report, Component: c.report, Version: p.o.Version, Log: p.o.Log, Now: p.o.Now})
			})
		})
	}
	g.Go(func() error {
		if !p.waitForKafka(ctx) {
			return nil
		}
		g.Go(func() error {
			return p.keep(ctx, p.reg.component("status", "status"), p.publishStatus)
		})
		return p.startRoles(ctx, g)
	})
	return g.Wait()
}

// waitForKafka returns true once the brokers answer and every topic is there. Until then it says what is wrong.
func (p *process) waitForKafka(ctx context.Context) bool {
	c := p.reg.component("kafka", "kafka")
	said := ""
	for ctx.Err() == nil {
		err := p.client.Ping(ctx)
		if err == nil {
			err = p.client.EnsureTopics(ctx, p.topics())
		}
		if err == nil {
			c.report(pipeline.Status{State: pipeline.Running})
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		c.report(pipeline.Status{State: pipeline.Down, Reason: err.Error()})
		if said != err.Error() {
			said = err.Error()
			p.o.Log.Warn("kafka is not ready, waiting for it", "err", err)
		}
		wait.For(ctx, 500*time.Millisecond)
	}
	return false
}

// topics are the plant's topics; the dispatcher keeps its state apart, so that each task trims only its own.
func (p *process) topics() []kafka.TopicSpec {
	sinks := map[string][]string{}
	for _, s := range p.o.Plant.Sinks {
		sinks[s.Name] = s.Events
	}
	return kafka.Topics(p.o.Plant.File.Namespace, p.o.Plant.File.Kafka.Partitions, sinks)
}
