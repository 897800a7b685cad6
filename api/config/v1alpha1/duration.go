package v1alpha1

import (
	"fmt"
	"strings"
	"time"
)

// Duration is a duration as Go and Kubernetes write it: "30s", "1h30m".
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler: "24h", where Go has "24h0m0s".
func (d Duration) MarshalText() ([]byte, error) {
	text := time.Duration(d).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return []byte(text), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q: expected a duration such as 30s", text)
	}
	*d = Duration(parsed)
	return nil
}
