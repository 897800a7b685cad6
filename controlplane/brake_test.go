package controlplane

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/portolan-net/portolan/controlplane/internal/model"
)

const twoServices = `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: demo}
spec: {clusterIP: 10.96.0.10, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: demo}
spec: {clusterIP: None, ports: [{port: 80}]}
`

func TestADirectoryIsListedAnewAsItIsNow(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "services.yaml")
	c := &controlPlane{Config: Config{Manifests: dir, Logger: hclog.NewNullLogger()}}
	list, err := c.lister()
	if err != nil {
		t.Fatal(err)
	}
	if listed, err := list(t.Context()); err != nil || len(listed) != 0 {
		t.Errorf("an empty directory: %v, %v", listed, err)
	}
	if err := os.WriteFile(path, []byte(twoServices), 0o600); err != nil {
		t.Fatal(err)
	}
	if listed, err := list(t.Context()); err != nil || len(listed) != 1 || listed[0] != (model.Key{Namespace: "demo", Name: "web"}) {
		t.Errorf("listed %v, %v; want what is proxied", listed, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := list(t.Context()); err == nil {
		t.Error("a directory that is gone says something")
	}
}

func TestBoundsThatMakeNoSenseAreRefusedByTheirFlag(t *testing.T) {
	for want, config := range map[string]Config{
		"--brake-share 1.5: expected a part of the Services, from 0 (no brake) to 1": {BrakeConfig: BrakeConfig{BrakeShare: 1.5}},
		"--brake-min -1: expected a number of Services, or 0 for no brake":           {BrakeConfig: BrakeConfig{BrakeMin: -1}},
		"--max-streams -1: expected a number of streams, or 0 for the default":       {MaxStreams: -1},
	} {
		config.Manifests, config.Logger = t.TempDir(), hclog.NewNullLogger()
		if _, err := assemble(config); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if limits, err := DefaultBrake().brakeLimits(); err != nil || !limits.On() {
		t.Errorf("by default: %+v, %v", limits, err)
	}
}
