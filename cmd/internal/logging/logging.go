// Package logging makes the hclog logger of a program from its flags, and sends
// what gRPC logs to it.
package logging

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/pflag"
	"google.golang.org/grpc/grpclog"
)

// Flags are the logging flags of a program.
type Flags struct {
	Level string
	JSON  bool
}

// Register adds the flags to a set. The default level is the one that is set
// already, else info.
func (f *Flags) Register(flags *pflag.FlagSet) {
	flags.StringVar(&f.Level, "log-level", cmp.Or(f.Level, "info"), "what to log: trace, debug, info, warn or error")
	flags.BoolVar(&f.JSON, "log-json", false, "log a JSON object a line")
}

// New returns the program's logger, which writes to w.
func (f *Flags) New(name string, w io.Writer) (hclog.Logger, error) {
	level := hclog.LevelFromString(f.Level)
	if level == hclog.NoLevel {
		return nil, fmt.Errorf("--log-level %q: expected trace, debug, info, warn or error", f.Level)
	}
	logger := hclog.New(&hclog.LoggerOptions{Name: name, Level: level, JSONFormat: f.JSON, Output: w})
	grpclog.SetLoggerV2(grpcLogger{logger.Named("grpc")})
	return logger, nil
}

// grpcLogger sends gRPC's messages to hclog. What gRPC calls info is of interest
// to its own developers, so it becomes trace, and its warnings, most of which are
// about peers that went away, become debug.
type grpcLogger struct{ hclog.Logger }

var _ grpclog.DepthLoggerV2 = grpcLogger{}

func line(args []any) string { return strings.TrimSpace(fmt.Sprintln(args...)) }

func (l grpcLogger) Info(args ...any)                 { l.InfoDepth(0, args...) }
func (l grpcLogger) Infoln(args ...any)               { l.InfoDepth(0, args...) }
func (l grpcLogger) Infof(format string, args ...any) { l.InfoDepth(0, fmt.Sprintf(format, args...)) }
func (l grpcLogger) Warning(args ...any)              { l.WarningDepth(0, args...) }
func (l grpcLogger) Warningln(args ...any)            { l.WarningDepth(0, args...) }
func (l grpcLogger) Warningf(format string, args ...any) {
	l.WarningDepth(0, fmt.Sprintf(format, args...))
}
func (l grpcLogger) Error(args ...any)                 { l.ErrorDepth(0, args...) }
func (l grpcLogger) Errorln(args ...any)               { l.ErrorDepth(0, args...) }
func (l grpcLogger) Errorf(format string, args ...any) { l.ErrorDepth(0, fmt.Sprintf(format, args...)) }
func (l grpcLogger) Fatal(args ...any)                 { l.FatalDepth(0, args...) }
func (l grpcLogger) Fatalln(args ...any)               { l.FatalDepth(0, args...) }
func (l grpcLogger) Fatalf(format string, args ...any) { l.FatalDepth(0, fmt.Sprintf(format, args...)) }

// V tells whether messages of a verbosity are wanted.
func (l grpcLogger) V(int) bool { return l.IsTrace() }

// InfoDepth implements grpclog.DepthLoggerV2, without which some messages come
// twice.
func (l grpcLogger) InfoDepth(_ int, args ...any) {
	if l.IsTrace() {
		l.Trace(line(args))
	}
}

// WarningDepth implements grpclog.DepthLoggerV2.
func (l grpcLogger) WarningDepth(_ int, args ...any) {
	if l.IsDebug() {
		l.Debug(line(args))
	}
}

// ErrorDepth implements grpclog.DepthLoggerV2.
func (l grpcLogger) ErrorDepth(_ int, args ...any) { l.Logger.Error(line(args)) }

// FatalDepth implements grpclog.DepthLoggerV2. gRPC exits after it.
func (l grpcLogger) FatalDepth(_ int, args ...any) { l.Logger.Error(line(args)) }
