// Package kubelogging sends what Kubernetes libraries log, through klog and logr,
// to hclog. It is apart from logging because the agent has nothing of Kubernetes.
package kubelogging

import (
	"github.com/go-logr/logr"
	"github.com/hashicorp/go-hclog"
	"k8s.io/klog/v2"
)

// SendTo makes klog write to the logger.
func SendTo(logger hclog.Logger) {
	klog.SetLoggerWithOptions(logr.New(sink{logger}), klog.ContextualLogger(true))
}

// sink is a logr.LogSink. What these libraries call information is detail to an
// operator of ours: errors stay errors, the rest is debug and trace.
type sink struct{ hclog.Logger }

var _ logr.LogSink = sink{}

// Init implements logr.LogSink.
func (s sink) Init(logr.RuntimeInfo) {}

// Enabled implements logr.LogSink.
func (s sink) Enabled(level int) bool {
	if level > 0 {
		return s.IsTrace()
	}
	return s.IsDebug()
}

// Info implements logr.LogSink.
func (s sink) Info(level int, message string, pairs ...any) {
	if level > 0 {
		s.Trace(message, pairs...)
		return
	}
	s.Debug(message, pairs...)
}

// Error implements logr.LogSink.
func (s sink) Error(err error, message string, pairs ...any) {
	s.Logger.Error(message, append(pairs, "error", err)...)
}

// WithValues implements logr.LogSink.
func (s sink) WithValues(pairs ...any) logr.LogSink { return sink{s.With(pairs...)} }

// WithName implements logr.LogSink.
func (s sink) WithName(name string) logr.LogSink { return sink{s.Named(name)} }
