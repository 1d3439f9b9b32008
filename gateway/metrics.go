package gateway

import (
	"context"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
)

// metricsHandler serves every component's counters of every process of the plant, read from their status reports.
func (s *server) metricsHandler() http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), plantCollector{s})
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

type plantCollector struct{ s *server }

// Describe sends nothing: which counters exist depends on the components that report.
func (plantCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector. Labels are bounded: component names and instances, never tags or orders.
// Reports come from other processes, of other versions perhaps: what is no metric's name is made one, and what would
// stand there twice is left out, so that one odd report cannot spoil the page.
func (c plantCollector) Collect(out chan<- prometheus.Metric) {
	// The registry calls this on a goroutine of its own, where a panic would end the process.
	if err := guarded(func() error { return c.collect(out) }); err != nil {
		c.s.o.Log.Error("the status cannot be read for the metrics", "err", err)
	}
}

func (c plantCollector) collect(out chan<- prometheus.Metric) error {
	st, err := c.s.GetStatus(context.Background(), &gatewayv1.GetStatusRequest{})
	if err != nil {
		return err
	}
	labels := []string{"component", "instance"}
	sent := map[[3]string]bool{}
	send := func(name, help string, kind prometheus.ValueType, value float64, comp *gatewayv1.Component) {
		key := [3]string{name, comp.GetName(), comp.GetInstance()}
		if sent[key] {
			return
		}
		sent[key] = true
		if m, err := prometheus.NewConstMetric(prometheus.NewDesc(name, help, labels, nil), kind, value, comp.GetName(), comp.GetInstance()); err == nil {
			out <- m
		}
	}
	for _, comp := range st.GetComponents() {
		up := 0.0
		if s := comp.GetState(); s == gatewayv1.ComponentState_COMPONENT_STATE_RUNNING || s == gatewayv1.ComponentState_COMPONENT_STATE_DEGRADED {
			up = 1
		}
		send("plantloom_component_up", "1 when the component runs, also degraded, 0 when it does not.", prometheus.GaugeValue, up, comp)
		for name, v := range comp.GetCounters() {
			send("plantloom_"+metricName(comp.GetKind()+"_"+name), "As the component reports it since its process started.", prometheus.UntypedValue, v, comp)
		}
	}
	for name, v := range map[string]float64{"plantloom_held_effects": float64(len(st.GetHeld())), "plantloom_dead_letters": float64(st.GetDeadLetters())} {
		help := map[string]string{"plantloom_held_effects": "Effects that wait for a person.", "plantloom_dead_letters": "Dead letters in view."}[name]
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, nil), prometheus.GaugeValue, v)
	}
	return nil
}

// metricName keeps letters and digits.
func metricName(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, s)
}
