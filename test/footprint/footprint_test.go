package footprint

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/portolan-net/portolan/test/netns"
)

// directory names the environment variable that says where the programs are.
const directory = "PORTOLAN_FOOTPRINT_BIN"

func TestMain(m *testing.M) { netns.WithPrograms(m, build) }

func build(dir string) error {
	command := exec.Command("go", "build", "-trimpath", "-tags", "grpcnotrace", "-o", dir+string(filepath.Separator), "./cmd/...")
	command.Dir = "../.."
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building the programs: %w\n%s", err, output)
	}
	return os.Setenv(directory, dir)
}

const (
	// patience bounds every wait.
	patience = time.Minute
	// settling is how long the programs are left alone before their memory is read.
	settling = 5 * time.Second
	changes  = 10

	agentMetrics = "http://127.0.0.1:10249/metrics"
	planeMetrics = "http://127.0.0.1:9442/metrics"
	// inForce is what an agent says when it is done.
	inForce = "the kernel holds the whole ruleset"
)

// BenchmarkFootprint runs a control plane and an agent: a whole load, then changes one
// by one, then a restart of the agent with unchanged state.
func BenchmarkFootprint(b *testing.B) {
	loopback, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(loopback)
	}
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{5000, 10_000} {
		b.Run(fmt.Sprintf("services=%d", size), func(b *testing.B) {
			for b.Loop() {
				measure(b, size)
			}
		})
	}
}

func measure(b *testing.B, size int) {
	dir := b.TempDir()
	cluster := filepath.Join(dir, "cluster")
	writeCluster(b, cluster, size)
	start := func(name string, args ...string) *program { return start(b, dir, name, args...) }
	startAgent := func() *program {
		return start("portolan-agent", "--node", "node-a", "--server", "127.0.0.1:9440", "--checkpoint-file", filepath.Join(dir, "checkpoint"))
	}

	plane := start("portolan-controlplane", "--listen", "127.0.0.1:9440", "--manifests", cluster)
	agent := startAgent()
	agent.says(b, inForce)
	time.Sleep(settling)
	agent.reportMemory(b, "agent")
	plane.reportMemory(b, "controlplane")
	whole := figure(b, planeMetrics, "portolan_sent_bytes_total")

	for i := range changes {
		seen := figure(b, agentMetrics, "portolan_agent_transactions_total")
		writeService(b, cluster, i+1)
		for deadline := time.Now().Add(patience); figure(b, agentMetrics, "portolan_agent_transactions_total") == seen; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				b.Fatal("a change has not reached the agent")
			}
		}
	}
	time.Sleep(settling)
	agent.reportMemory(b, "agent-after-changes")
	changed := figure(b, planeMetrics, "portolan_sent_bytes_total")
	b.ReportMetric(whole, "bytes/full-sync")
	b.ReportMetric((changed-whole)/changes, "bytes/change")

	agent.stop(b)
	before := generation(b)
	begun := time.Now()
	agent = startAgent()
	agent.says(b, inForce)
	b.ReportMetric(float64(time.Since(begun).Microseconds())/1000, "restart-ms")
	time.Sleep(settling)
	agent.reportMemory(b, "agent-restarted")
	b.ReportMetric(float64(generation(b)-before), "restart-kernel-transactions")
	b.ReportMetric(figure(b, planeMetrics, "portolan_sent_bytes_total")-changed, "bytes/reconnect")

	agent.stop(b)
	plane.stop(b)
	if output, err := exec.Command(os.Getenv(directory)+"/portolan-agent", "cleanup").CombinedOutput(); err != nil {
		b.Fatalf("cleaning up: %v\n%s", err, output)
	}
}

// writeCluster writes a Node and Services of ten endpoints, and one Service apart that
// is to change.
func writeCluster(b *testing.B, dir string, size int) {
	b.Helper()
	if err := os.MkdirAll(dir, 0o750); err != nil {
		b.Fatal(err)
	}
	var text strings.Builder
	text.WriteString("apiVersion: v1\nkind: Node\nmetadata: {name: node-a}\nspec: {podCIDR: 10.244.1.0/24}\nstatus: {addresses: [{type: InternalIP, address: 192.0.2.1}]}\n")
	for i := 1; i < size; i++ {
		text.WriteString(service(i, 0))
	}
	write(b, filepath.Join(dir, "all.yaml"), text.String())
	writeService(b, dir, 0)
}

func writeService(b *testing.B, dir string, round int) {
	b.Helper()
	// A rename, so that no half of it is read.
	write(b, filepath.Join(dir, ".next"), service(0, round))
	if err := os.Rename(filepath.Join(dir, ".next"), filepath.Join(dir, "one.yaml")); err != nil {
		b.Fatal(err)
	}
}

func write(b *testing.B, path, text string) {
	b.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
}

func service(i, round int) string {
	var list []string
	for e := range 10 {
		last := e
		if e == 9 {
			last += round
		}
		list = append(list, fmt.Sprintf("{addresses: [10.%d.%d.%d]}", 128+i>>8, i&255, last+1))
	}
	return fmt.Sprintf(`---
apiVersion: v1
kind: Service
metadata: {name: service-%d, namespace: namespace-%d}
spec: {clusterIP: 10.96.%d.%d, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: service-%[1]d-abcde, namespace: namespace-%[2]d, labels: {kubernetes.io/service-name: service-%[1]d}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [%[5]s]
`, i, i%100, i>>8, i&255, strings.Join(list, ", "))
}

// program is one that runs.
type program struct {
	command *exec.Cmd
	log     string
}

func start(b *testing.B, dir, name string, args ...string) *program {
	b.Helper()
	log, err := os.CreateTemp(dir, name)
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	p := &program{command: exec.Command(filepath.Join(os.Getenv(directory), name), args...), log: log.Name()}
	p.command.Stdout, p.command.Stderr = log, log
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.command.Start(); err != nil {
		b.Fatal(err)
	}
	return p
}

// says waits until the program logs something.
func (p *program) says(b *testing.B, text string) {
	b.Helper()
	var log []byte
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		var err error
		if log, err = os.ReadFile(p.log); err != nil {
			b.Fatal(err)
		}
		if strings.Contains(string(log), text) {
			return
		}
	}
	b.Fatalf("the program has not said %q:\n%s", text, log)
}

func (p *program) stop(b *testing.B) {
	b.Helper()
	_ = p.command.Process.Signal(os.Interrupt)
	if err := p.command.Wait(); err != nil {
		log, _ := os.ReadFile(p.log)
		b.Fatalf("%s: %v\n%s", p.command.Path, err, log)
	}
}

// reportMemory reports the memory of the program, now and at most.
func (p *program) reportMemory(b *testing.B, name string) {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	for field, unit := range map[string]string{"VmRSS": "rss-MB", "VmHWM": "peak-MB"} {
		_, rest, _ := strings.Cut(string(status), field+":")
		var kib float64
		if _, err := fmt.Sscan(rest, &kib); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(kib*1024/1e6, name+"-"+unit)
	}
}

// figure returns the sum of a metric's values.
func figure(b *testing.B, url, name string) float64 {
	b.Helper()
	response, err := http.Get(url)
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.Fatal(err)
	}
	sum, found := 0.0, false
	for _, match := range regexp.MustCompile(`(?m)^`+name+`(?:\{.*\})? (\S+)$`).FindAllStringSubmatch(string(body), -1) {
		value, err := strconv.ParseFloat(match[1], 64)
		if err != nil {
			b.Fatal(err)
		}
		sum, found = sum+value, true
	}
	if !found {
		b.Fatalf("%s has no %s", url, name)
	}
	return sum
}

// generation is the number of the kernel's last transaction in this namespace.
func generation(b *testing.B) uint32 {
	b.Helper()
	conn, err := nftables.New()
	if err != nil {
		b.Fatal(err)
	}
	gen, err := conn.GetGen()
	if err != nil {
		b.Fatal(err)
	}
	return gen.ID
}
