//go:build cluster

package cluster

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// manifest is a Deployment with a Service that has a node port, and with the hook of
// docs/how-to/wait-for-a-change.md or without.
func manifest(name string, port int, hook bool) string {
	lifecycle := ""
	if hook {
		lifecycle = "\n        lifecycle: {preStop: {exec: {command: [/main, leave]}}}"
	}
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: 4
  selector: {matchLabels: {app: %[1]s}}
  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 30
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: %[1]s}}}
      containers:
      - name: web
        image: portolan.test/workload:1
        imagePullPolicy: Never
        env:
        - {name: NODE, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}%[3]s
---
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec:
  type: NodePort
  selector: {app: %[1]s}
  ports: [{port: 80, targetPort: 8080, nodePort: %[2]d}]
`, name, port, lifecycle)
}

// deploy applies a manifest and waits until its pods are ready.
func deploy(t *testing.T, name string, port int, hook bool) {
	t.Helper()
	sh(t, "kubectl apply -f - <<'END'\n"+manifest(name, port, hook)+"END\nkubectl rollout status --timeout 2m deployment/"+name)
}

const (
	lastingPort = 30080
	rollingPort = 30081
)

// serveWorkload has a pod of each node connect to a Service that has pods on both, and the test
// to the node port of each.
func serveWorkload(t *testing.T) {
	deploy(t, "lasting", lastingPort, true)
	address := strings.TrimSpace(sh(t, "kubectl get service lasting -o jsonpath='{.spec.clusterIP}'"))
	for node := range nodes {
		pod := strings.Fields(sh(t, fmt.Sprintf("kubectl get pods -l app=lasting --field-selector spec.nodeName=node-%d -o name", node+1)))
		if len(pod) == 0 {
			t.Fatalf("no pod is on node-%d", node+1)
		}
		answered := map[string]bool{}
		eventually(t, func() error {
			out, err := try(t.Context(), "kubectl exec "+pod[0]+" -- /main get http://"+address)
			if err == nil {
				answered[strings.TrimSpace(out)] = true
			}
			if len(answered) < 3 {
				err = fmt.Errorf("of four pods %v have answered, error %w: %s", answered, err, out)
			}
			return err
		})
		eventually(t, func() error {
			_, err := ask(nodes[node], lastingPort)
			return err
		})
	}
}

// ask makes one connection to a node port and returns who answers.
func ask(node string, port int) (string, error) {
	const soon = 900 * time.Millisecond // Less than the second after which a lost SYN is sent again.
	transport := &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: soon}).DialContext}
	response, err := (&http.Client{Transport: transport, Timeout: 5 * time.Second}).Get(fmt.Sprintf("http://%s:%d", node, port))
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return string(text), err
}

// load makes connections to the node port of each node until it is stopped, and returns how many
// there were and what went wrong.
func load(port int) (stop func() (connections int, failures []error)) {
	var mu sync.Mutex
	var failures []error
	connections := 0
	done := make(chan struct{})
	var running sync.WaitGroup
	for _, node := range nodes {
		running.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(3 * time.Millisecond):
				}
				_, err := ask(node, port)
				mu.Lock()
				connections++
				if err != nil {
					failures = append(failures, fmt.Errorf("%s: %w", time.Now().Format("15:04:05.000"), err))
				}
				mu.Unlock()
			}
		})
	}
	return func() (int, []error) {
		close(done)
		running.Wait()
		return connections, failures
	}
}

// lossless runs something under load, of which no connection may fail.
func lossless(t *testing.T, port int, during func()) {
	t.Helper()
	stop := load(port)
	defer func() {
		connections, failures := stop()
		t.Logf("%d connections, %d failed", connections, len(failures))
		if len(failures) > 0 || connections < 100 {
			t.Errorf("%d of %d connections failed, the first: %v", len(failures), connections, failures[:min(3, len(failures))])
		}
	}()
	during()
}

// roll replaces the pods of a Deployment under load.
func roll(t *testing.T, name string, hook bool) {
	deploy(t, name, rollingPort, hook)
	eventually(t, func() error {
		for _, node := range nodes {
			if _, err := ask(node, rollingPort); err != nil {
				return err
			}
		}
		return nil
	})
	restart := func() {
		sh(t, "kubectl rollout restart deployment/"+name+"; kubectl rollout status --timeout 2m deployment/"+name)
	}
	if hook {
		lossless(t, rollingPort, restart)
	} else {
		stop := load(rollingPort)
		restart()
		connections, failures := stop()
		t.Logf("without the hook: %d connections, %d failed", connections, len(failures))
	}
	sh(t, "kubectl delete deployment,service "+name)
}

// upgrade has every pod of Portolan's replaced, under load, and asks as docs/how-to/upgrade.md does.
func upgrade(t *testing.T) {
	lossless(t, lastingPort, func() {
		sh(t, `helm upgrade portolan deploy/chart/portolan -n portolan-system --reuse-values --set agent.logLevel=debug --set controlPlane.logLevel=debug
kubectl -n portolan-system rollout status --timeout 2m deployment/portolan-controlplane
kubectl -n portolan-system rollout status --timeout 2m daemonset/portolan-agent`)
		eventually(t, func() error { return allSynced(t) })
	})
}

// takeAway uninstalls it: Services work on, until the rules are removed.
func takeAway(t *testing.T, install page) {
	commands := install.block(t, "Take it away", "cleanup.yaml")
	lossless(t, lastingPort, func() {
		sh(t, "helm uninstall portolan --namespace portolan-system --wait")
		eventually(t, func() error {
			if out := sh(t, "kubectl -n portolan-system get pods -o name"); out != "" {
				return fmt.Errorf("there are still %s", out)
			}
			return nil
		})
		time.Sleep(2 * time.Second)
	})
	cleanup, err := os.ReadFile(root + "/deploy/manifests/cleanup.yaml")
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.ReplaceAll(string(cleanup), "ghcr.io/portolan-net/portolan:", "registry.example/portolan:")
	if err := os.WriteFile(desk+"/cleanup.yaml", []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	lines := slices.Collect(strings.Lines(strings.ReplaceAll(commands, "deploy/manifests/", "")))
	sh(t, lines[0]+lines[1])
	for _, node := range nodes {
		if name, err := ask(node, lastingPort); err == nil {
			t.Errorf("after cleanup %s answers at %s", name, node)
		}
	}
	sh(t, strings.Join(lines[2:], ""))
}
