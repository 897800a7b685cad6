package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

const servers = "agent: {servers: ['192.0.2.10:9440', '[2001:db8::10]:9440']}\n"

// combinations are values that people have, each of which must give something that works.
var combinations = map[string]string{
	"no more than is required": servers,
	"mode ipvs":                servers + "config: {mode: ipvs, ipvs: {scheduler: wlc, strictARP: true}}",
	"nodes apart":              servers + "config: {nodes: [{name: gpu, selector: {matchLabels: {accelerator: nvidia}}, mode: ipvs}]}",
	"a Secret of one's own":    servers + "tls: {source: existingSecret, existingSecret: mine, caConfigMap: ours}",
	"a CA in the values":       servers + "tls: {source: existingSecret, existingSecret: mine, caBundle: \"-----BEGIN CERTIFICATE-----\\nx\\n-----END CERTIFICATE-----\\n\"}",
	"cert-manager":             servers + "tls: {source: certManager, certManager: {issuerRef: {kind: ClusterIssuer, name: internal}}, caConfigMap: ours}",
	"watched":                  servers + "monitoring: {podMonitors: true, rules: true, dashboards: true}",
	"no host port":             servers + "controlPlane: {hostPort: 0}",
	"one replica":              servers + "controlPlane: {replicas: 1, resources: {}}",
	"no network policy":        servers + "networkPolicy: {enabled: false}",
	"nobody asks":              servers + "rbac: {people: false}",
	"no init container":        "agent: {servers: ['lb.example:9440'], init: {enabled: false}, maxUnavailable: 5}",
	"more arguments":           "agent: {servers: ['lb.example:9440'], extraArgs: [--profiling, --max-elements=500000]}\ncontrolPlane: {extraArgs: ['--max-streams=1000']}",
	"elsewhere":                "agent: {servers: ['lb.example:9440'], nodeSelector: {disk: ssd}, tolerations: [{key: x, operator: Exists}], podAnnotations: {a: b}}\ncontrolPlane: {nodeSelector: {node-role.kubernetes.io/control-plane: ''}, podAnnotations: {a: b}}",
	"an API server apart":      servers + "controlPlane: {apiServer: 'api.example:6443'}",
	"an API server by IPv6":    servers + "controlPlane: {apiServer: '[2001:db8::1]:443'}",
	"traced":                   servers + "controlPlane: {tracing: {endpoint: 'collector.observability:4317', caConfigMap: collector-ca}}",
	"traced in plaintext":      servers + "controlPlane: {tracing: {endpoint: '10.96.0.20:4317', insecure: true, samplingRatePerMillion: 1000000}}",
	"part of view and admin":   servers + "rbac: {aggregate: true}",
	"an image by digest":       servers + "image: {repository: registry.example/portolan, digest: 'sha256:" + strings.Repeat("a", 64) + "', pullSecrets: [{name: pull}]}",
}

const namespace = "portolan-system"

func documents(t *testing.T, text string) [][]byte {
	t.Helper()
	values, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	list, err := Render(values, namespace)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// strict decodes what Kubernetes itself knows, and nothing that it does not.
var strict = func() runtime.Decoder {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, rbacv1.AddToScheme, policyv1.AddToScheme, networkingv1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
}()

// operators are objects of others, which are checked for what we write alone.
var operators = []string{"monitoring.coreos.com/v1", "cert-manager.io/v1"}

func decode(t *testing.T, document []byte) runtime.Object {
	t.Helper()
	var head struct{ APIVersion string }
	if err := yaml.Unmarshal(document, &head); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(operators, head.APIVersion) {
		return nil
	}
	object, _, err := strict.Decode(document, nil, nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, document)
	}
	return object
}

// violations are what the Pod Security Standards' level forbids of a pod.
func violations(t *testing.T, level api.Level, template corev1.PodTemplateSpec) []string {
	t.Helper()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, result := range evaluator.EvaluatePod(api.LevelVersion{Level: level, Version: api.LatestVersion()}, &template.ObjectMeta, &template.Spec) {
		if !result.Allowed {
			list = append(list, result.ForbiddenReason)
		}
	}
	slices.Sort(list)
	return list
}

func TestEveryCombinationOfValuesIsValid(t *testing.T) {
	for name, text := range combinations {
		t.Run(name, func(t *testing.T) {
			pods := 0
			for _, document := range documents(t, text) {
				switch object := decode(t, document).(type) {
				case *appsv1.Deployment:
					pods++
					checkControlPlane(t, object, strings.Contains(text, "hostPort: 0"))
				case *appsv1.DaemonSet:
					pods++
					checkAgent(t, object, !strings.Contains(text, "init: {enabled: false}"))
				case *rbacv1.ClusterRole:
					checkRole(t, object)
				case *rbacv1.ClusterRoleBinding:
					for _, subject := range object.Subjects {
						if subject.Name != "portolan-controlplane" || subject.Namespace != namespace {
							t.Errorf("%s gives rights to %s/%s", object.Name, subject.Namespace, subject.Name)
						}
					}
				}
				if strings.Contains(string(document), "%!") || strings.Contains(string(document), "<no value>") {
					t.Errorf("something was not filled in:\n%s", document)
				}
			}
			if pods != 2 {
				t.Errorf("%d kinds of pods, want the control plane's and the agent's", pods)
			}
		})
	}
}

func checkControlPlane(t *testing.T, d *appsv1.Deployment, restricted bool) {
	t.Helper()
	var want []string
	if !restricted {
		want = []string{"hostPort"}
	}
	if got := violations(t, api.LevelRestricted, d.Spec.Template); !slices.Equal(got, want) {
		t.Errorf("the control plane is not restricted: %v, want %v", got, want)
	}
	c := d.Spec.Template.Spec.Containers[0]
	checkContainer(t, c, nil)
	if c.ReadinessProbe == nil || c.LivenessProbe == nil || d.Spec.Template.Spec.HostNetwork {
		t.Error("the control plane lacks probes, or is on the host's network")
	}
	for _, v := range d.Spec.Template.Spec.Volumes {
		if v.Secret != nil && (v.Secret.DefaultMode == nil || *v.Secret.DefaultMode != 0o440) {
			t.Errorf("volume %s: others read the key", v.Name)
		}
	}
}

func checkAgent(t *testing.T, d *appsv1.DaemonSet, hasInit bool) {
	t.Helper()
	spec := d.Spec.Template.Spec
	if !spec.HostNetwork || spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken || spec.PriorityClassName == "" {
		t.Error("the agent: expected the host's network, no token of the API server's, a priority")
	}
	// The host's network and its health port, the state's directory, NET_ADMIN, which only root gets,
	// and the init container.
	baseline := []string{"host namespaces", "hostPath volumes", "hostPort", "non-default capabilities"}
	restricted := []string{"host namespaces", "hostPort", "restricted volume types", "runAsNonRoot != true", "runAsUser=0", "unrestricted capabilities"}
	if hasInit {
		baseline = append(baseline, "privileged")
		restricted = append([]string{"allowPrivilegeEscalation != false"}, slices.Insert(restricted, 2, "privileged")...)
	}
	for level, want := range map[api.Level][]string{api.LevelBaseline: baseline, api.LevelRestricted: restricted} {
		if got := violations(t, level, d.Spec.Template); !slices.Equal(got, want) {
			t.Errorf("the agent is beyond the level %s by %v, want %v alone", level, got, want)
		}
	}
	if (len(spec.InitContainers) == 1) != hasInit {
		t.Errorf("%d init containers", len(spec.InitContainers))
	}
	for _, c := range spec.InitContainers {
		if !slices.Equal(c.Command, []string{"/portolan-agent", "--init-only"}) || c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem {
			t.Errorf("%s is privileged and runs %v: %+v", c.Name, c.Command, c.SecurityContext)
		}
	}
	if spec.DNSPolicy != corev1.DNSDefault || spec.HostPID || spec.HostIPC {
		t.Errorf("the agent resolves by %s: expected the node's own resolver", spec.DNSPolicy)
	}
	checkContainer(t, spec.Containers[0], []corev1.Capability{"NET_ADMIN"})
	paths, tokens := 0, 0
	for _, v := range spec.Volumes {
		if v.HostPath != nil {
			paths++
		}
		if v.Secret != nil {
			t.Errorf("volume %s: a node that is broken into reads Secret %s", v.Name, v.Secret.SecretName)
		}
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			if token := s.ServiceAccountToken; token == nil || token.Audience != "portolan.control-plane" || *token.ExpirationSeconds > 3600 {
				t.Errorf("volume %s: %+v", v.Name, s)
			}
			tokens++
		}
	}
	if paths != 1 || tokens != 1 {
		t.Errorf("%d host paths, %d tokens: want one of each", paths, tokens)
	}
}

func checkContainer(t *testing.T, c corev1.Container, capabilities []corev1.Capability) {
	t.Helper()
	s := c.SecurityContext
	if s == nil || s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || !slices.Equal(s.Capabilities.Add, capabilities) {
		t.Errorf("%s: capabilities %+v, want %v", c.Name, s, capabilities)
		return
	}
	if s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation ||
		s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%s is not confined: %+v", c.Name, s)
	}
	if _, tag, _ := strings.Cut(c.Image[strings.LastIndexByte(c.Image, '/')+1:], ":"); tag == "" || tag == "latest" {
		t.Errorf("%s: image %s: expected a version", c.Name, c.Image)
	}
}

func checkRole(t *testing.T, role *rbacv1.ClusterRole) {
	t.Helper()
	for _, rule := range role.Rules {
		for _, list := range [][]string{rule.APIGroups, rule.Resources, rule.Verbs, rule.NonResourceURLs} {
			for _, entry := range list {
				if strings.Contains(entry, "*") {
					t.Errorf("%s: %v has a wildcard", role.Name, rule)
				}
			}
		}
		for _, forbidden := range []string{"secrets", "pods", "configmaps", "serviceaccounts"} {
			if slices.Contains(rule.Resources, forbidden) {
				t.Errorf("%s may %v %s", role.Name, rule.Verbs, forbidden)
			}
		}
	}
}

func TestValuesThatMakeNoSenseAreRefusedByName(t *testing.T) {
	for text, want := range map[string]string{
		"":                                        "agent",
		"agent: {}":                               "servers",
		"agent: {servers: []}":                    "servers",
		"agent: {servers: ['192.0.2.10']}":        "agent/servers/0",
		"agent: {servers: ['http://x:9440']}":     "agent/servers/0",
		servers + "modes: ipvs":                   "modes",
		servers + "config: {mode: iptables}":      "config/mode",
		servers + "config: {kind: Configuration}": "config",
		servers + "tls: {source: selfSigned}":     "tls/source",
		servers + "tls: {source: existingSecret, caConfigMap: x}":                                 "tls.existingSecret",
		servers + "tls: {source: existingSecret, existingSecret: x}":                              "tls.caBundle or tls.caConfigMap",
		servers + "tls: {source: certManager, caConfigMap: x}":                                    "tls.certManager.issuerRef",
		servers + "tls: {caBundle: abc}":                                                          "tls/caBundle",
		servers + "controlPlane: {replicas: 0}":                                                   "controlPlane/replicas",
		servers + "controlPlane: {hostPort: 70000}":                                               "controlPlane/hostPort",
		servers + "controlPlane: {apiServer: 'https://api.example'}":                              "controlPlane/apiServer",
		servers + "controlPlane: {extraArgs: [--insecure]}":                                       "controlPlane/extraArgs/0",
		servers + "controlPlane: {extraArgs: [max-streams]}":                                      "controlPlane/extraArgs/0",
		servers + "controlPlane: {extraArgs: [--tracing-insecure]}":                               "controlPlane/extraArgs/0",
		servers + "controlPlane: {tracing: {endpoint: 'http://x'}}":                               "controlPlane/tracing/endpoint",
		servers + "controlPlane: {tracing: {endpoint: 'x:4317'}}":                                 "controlPlane.tracing.caConfigMap",
		servers + "controlPlane: {tracing: {samplingRatePerMillion: 0}}":                          "controlPlane/tracing/samplingRatePerMillion",
		servers + "controlPlane: {tracing: {endpoint: 'x:1', insecure: true, caConfigMap: ours}}": "controlPlane.tracing.insecure",
		servers + "monitoring: {podMonitors: 'yes'}":                                              "monitoring/podMonitors",
		servers + "rbac: {aggregate: all}":                                                        "rbac/aggregate",
		servers + "nameOverride: mine":                                                            "nameOverride",
		"agent: {servers: ['x:1'], extraArgs: ['--node=x']}":                                      "agent/extraArgs/0",
		"agent: {servers: ['x:1'], maxUnavailable: some}":                                         "agent/maxUnavailable",
		"agent: {servers: ['x:1'], hostPath: state}":                                              "agent/hostPath",
		servers + "image: {tag: latest}":                                                          "image/tag",
		servers + "image: {digest: 'sha256:short'}":                                               "image/digest",
	} {
		values, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = Render(values, namespace); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
		}
	}
}

// TestTheProgramsHaveTheFlagsThatTheyAreGiven: the programs are asked themselves.
func TestTheProgramsHaveTheFlagsThatTheyAreGiven(t *testing.T) {
	help := map[string][]byte{}
	for name, text := range combinations {
		for _, document := range documents(t, text) {
			for _, c := range containers(template(decode(t, document))) {
				program := strings.TrimPrefix(c.Command[0], "/")
				if help[program] == nil {
					command := exec.Command("go", "run", "./cmd/"+program, "--help")
					command.Dir = "../.."
					out, err := command.CombinedOutput()
					if err != nil {
						t.Fatalf("%s --help: %v\n%s", program, err, out)
					}
					help[program] = out
				}
				for _, arg := range slices.Concat(c.Command[1:], c.Args) {
					flag, _, _ := strings.Cut(arg, "=")
					if !regexp.MustCompile(`(?m)^ +` + regexp.QuoteMeta(flag) + `( |$)`).Match(help[program]) {
						t.Errorf("%s: %s has no %s", name, program, flag)
					}
				}
			}
		}
	}
	if len(help) != 2 {
		t.Errorf("asked %d programs, want 2", len(help))
	}
}

// TestTheConfigurationIsOneThatNodesTake: what the values say of nodes, read by the program.
func TestTheConfigurationIsOneThatNodesTake(t *testing.T) {
	for _, name := range []string{"no more than is required", "mode ipvs", "nodes apart"} {
		for _, document := range documents(t, combinations[name]) {
			object, ok := decode(t, document).(*corev1.ConfigMap)
			if !ok || object.Name != "portolan-config" {
				continue
			}
			dir := t.TempDir()
			write := func(file, content string) string {
				if err := os.WriteFile(dir+"/"+file, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
				return dir + "/" + file
			}
			command := exec.Command("go", "run", "./cmd/portolan-controlplane", "--listen", "unix:"+dir+"/agents", "--admin-listen", "", "--metrics-listen", "",
				"--manifests", dir+"/nowhere", "--config", write("config.yaml", object.Data["config.yaml"]))
			command.Dir = "../.."
			// It ends because there are no manifests, which it looks for after the configuration.
			out, _ := command.CombinedOutput()
			if strings.Contains(string(out), "config.yaml: line") || !strings.Contains(string(out), "nowhere") {
				t.Errorf("%s: %s", name, out)
			}
		}
	}
}

// manifestValues are those of the plain manifests, which are to be edited.
const manifestValues = `
agent: {servers: ["192.0.2.10:9440", "192.0.2.11:9440"]}
tls: {source: existingSecret, existingSecret: portolan-tls, caConfigMap: portolan-ca}
`

const manifests = "../../deploy/manifests/portolan.yaml"

// TestThePlainManifestsAreTheCharts, with some values. With UPDATE=1 they are written.
func TestThePlainManifestsAreTheCharts(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Portolan without Helm. Made from the chart (make manifests), with what must be edited first:\n" +
		"# the addresses of the control planes (192.0.2.10, 192.0.2.11). The Secret portolan-tls and the\n" +
		"# ConfigMap portolan-ca are not in it: docs/how-to/install.md says how to make them.\n" +
		"---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: " + namespace + "\n  labels:\n    pod-security.kubernetes.io/enforce: privileged\n")
	for _, document := range documents(t, manifestValues) {
		fmt.Fprintf(&b, "---\n%s\n", strings.ReplaceAll(string(document), "app.kubernetes.io/managed-by: Helm", "app.kubernetes.io/managed-by: kubectl"))
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(manifests, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(manifests)
	if err != nil || string(have) != b.String() {
		t.Errorf("%s is not what the chart gives (%v): run make manifests", manifests, err)
	}
}
