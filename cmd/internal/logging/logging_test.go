package logging

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/grpc/grpclog"
)

func TestGRPCsMessagesComeOnceAndQuietly(t *testing.T) {
	tests := map[string]struct {
		level string
		want  map[string]int
	}{
		"at info only errors":            {"info", map[string]int{"an error": 1, "a warning": 0, "an info": 0}},
		"at debug warnings too":          {"debug", map[string]int{"an error": 1, "a warning": 1, "an info": 0}},
		"at trace everything, not twice": {"trace", map[string]int{"an error": 1, "a warning": 1, "an info": 1}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if _, err := (&Flags{Level: test.level}).New("test", &out); err != nil {
				t.Fatal(err)
			}
			log := grpclog.Component("component")
			log.Error("an error")
			log.Warning("a warning")
			log.Info("an info")
			for message, want := range test.want {
				if got := strings.Count(out.String(), message); got != want {
					t.Errorf("%q is logged %d times, want %d:\n%s", message, got, want, out.String())
				}
			}
		})
	}
}

func TestAnUnknownLevelSaysWhichThereAre(t *testing.T) {
	_, err := (&Flags{Level: "loud"}).New("test", &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), `--log-level "loud": expected trace, debug`) {
		t.Errorf("error %v", err)
	}
}
