package kubelogging

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"k8s.io/klog/v2"
)

func TestKlogComesThroughHclogByWeight(t *testing.T) {
	for level, want := range map[string]map[string]bool{
		"info":  {"broken": true, "noticed": false, "detail": false},
		"debug": {"broken": true, "noticed": true, "detail": false},
		"trace": {"broken": true, "noticed": true, "detail": true},
	} {
		var out bytes.Buffer
		SendTo(hclog.New(&hclog.LoggerOptions{Name: "client-go", Level: hclog.LevelFromString(level), Output: &out}))
		klog.Background().WithName("reflector").WithValues("kind", "Service").Error(errors.New("no route"), "broken")
		klog.Background().Info("noticed")
		klog.Background().V(4).Info("detail")
		for message, there := range want {
			if strings.Contains(out.String(), message) != there {
				t.Errorf("at %s, %q logged: %v, want %v\n%s", level, message, !there, there, out.String())
			}
		}
		if text := out.String(); !strings.Contains(text, "client-go.reflector: broken: kind=Service error=\"no route\"") {
			t.Errorf("at %s the error reads\n%s", level, text)
		}
	}
	klog.ClearLogger()
}
