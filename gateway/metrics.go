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
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
}

type plantCollector struct{ s *server }

// Describe sends nothing: which counters exist depends on the components that report.
func (plantCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector. Labels are bounded: component names and instances, never tags or orders.
func (c plantCollector) Collect(out chan<- prometheus.Metric) {
	st, err := c.s.GetStatus(context.Background(), &gatewayv1.GetStatusRequest{})
	if err != nil {
		return
	}
	labels := []string{"component", "instance"}
	up := prometheus.NewDesc("plantloom_component_up", "1 when the component runs, 0 when it is down or starting.", labels, nil)
	for _, comp := range st.GetComponents() {
		value := 0.0
		if s := comp.GetState(); s == gatewayv1.ComponentState_COMPONENT_STATE_RUNNING || s == gatewayv1.ComponentState_COMPONENT_STATE_DEGRADED {
			value = 1
		}
		out <- prometheus.MustNewConstMetric(up, prometheus.GaugeValue, value, comp.GetName(), comp.GetInstance())
		for name, v := range comp.GetCounters() {
			full := "plantloom_" + strings.ReplaceAll(comp.GetKind(), "-", "_") + "_" + name
			desc := prometheus.NewDesc(full, "Counter or gauge of a "+comp.GetKind()+".", labels, nil)
			out <- prometheus.MustNewConstMetric(desc, prometheus.UntypedValue, v, comp.GetName(), comp.GetInstance())
		}
	}
	held := prometheus.NewDesc("plantloom_held_effects", "Effects that wait for a person.", nil, nil)
	out <- prometheus.MustNewConstMetric(held, prometheus.GaugeValue, float64(len(st.GetHeld())))
	dead := prometheus.NewDesc("plantloom_dead_letters", "Dead letters in view.", nil, nil)
	out <- prometheus.MustNewConstMetric(dead, prometheus.GaugeValue, float64(st.GetDeadLetters()))
}
