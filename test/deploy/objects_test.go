package deploy

import (
	"maps"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// template returns what an object makes pods of, or nil.
func template(object runtime.Object) *corev1.PodTemplateSpec {
	switch object := object.(type) {
	case *appsv1.Deployment:
		return &object.Spec.Template
	case *appsv1.DaemonSet:
		return &object.Spec.Template
	}
	return nil
}

func containers(of *corev1.PodTemplateSpec) []corev1.Container {
	if of == nil {
		return nil
	}
	return slices.Concat(of.Spec.InitContainers, of.Spec.Containers)
}

// rendered is what a combination of values gives, found by kind and name.
type rendered struct {
	*testing.T
	objects map[string]runtime.Object
}

func rendering(t *testing.T, list [][]byte) rendered {
	t.Helper()
	r := rendered{t, map[string]runtime.Object{}}
	for _, document := range list {
		object := decode(t, document)
		if object == nil {
			continue
		}
		name := object.GetObjectKind().GroupVersionKind().Kind + " " + object.(metav1.Object).GetName()
		if r.objects[name] != nil {
			t.Errorf("%s is there twice", name)
		}
		r.objects[name] = object
	}
	return r
}

// TestTheObjectsBelongTogether: whatever one names of another is there.
func TestTheObjectsBelongTogether(t *testing.T) {
	for name, text := range combinations {
		t.Run(name, func(t *testing.T) {
			r := rendering(t, documents(t, text))
			controlPlane := template(r.objects["Deployment portolan-controlplane"])
			for _, name := range slices.Sorted(maps.Keys(r.objects)) {
				switch object := r.objects[name].(type) {
				case *appsv1.Deployment:
					r.selects(name, object.Spec.Selector, controlPlane)
					r.complete(name, controlPlane, text)
				case *appsv1.DaemonSet:
					r.selects(name, object.Spec.Selector, &object.Spec.Template)
					r.complete(name, &object.Spec.Template, text)
				case *policyv1.PodDisruptionBudget:
					r.selects(name, object.Spec.Selector, controlPlane)
				case *networkingv1.NetworkPolicy:
					r.selects(name, &object.Spec.PodSelector, controlPlane)
					for _, port := range object.Spec.Ingress[0].Ports {
						r.hasPort(name, port.Port.StrVal, controlPlane)
					}
				case *corev1.Service:
					r.selects(name, &metav1.LabelSelector{MatchLabels: object.Spec.Selector}, controlPlane)
					if object.Spec.ClusterIP != corev1.ClusterIPNone {
						t.Errorf("%s needs Services to be asked why Services do not work", name)
					}
					for _, port := range object.Spec.Ports {
						r.hasPort(name, port.TargetPort.StrVal, controlPlane)
					}
				case *rbacv1.RoleBinding, *rbacv1.Role:
					t.Errorf("%s: nobody is to have rights in a namespace", name)
				}
			}
		})
	}
}

func (r rendered) selects(name string, selector *metav1.LabelSelector, pods *corev1.PodTemplateSpec) {
	r.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil || s.Empty() || !s.Matches(labels.Set(pods.Labels)) {
		r.Errorf("%s selects %v, not pods with %v (%v)", name, s, pods.Labels, err)
	}
}

func (r rendered) hasPort(name, port string, pods *corev1.PodTemplateSpec) {
	r.Helper()
	for _, c := range pods.Spec.Containers {
		if slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == port }) {
			return
		}
	}
	r.Errorf("%s names port %q, which no container has", name, port)
}

// complete checks that pods have what they name, and name what they have.
func (r rendered) complete(name string, pods *corev1.PodTemplateSpec, values string) {
	r.Helper()
	if r.objects["ServiceAccount "+pods.Spec.ServiceAccountName] == nil {
		r.Errorf("%s: there is no ServiceAccount %s", name, pods.Spec.ServiceAccountName)
	}
	mounted := map[string]bool{}
	for _, c := range containers(pods) {
		for _, m := range c.VolumeMounts {
			mounted[m.Name] = true
		}
		for _, probe := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe} {
			if probe != nil && probe.HTTPGet.Port.StrVal != "" {
				r.hasPort(name, probe.HTTPGet.Port.StrVal, pods)
			}
		}
	}
	for _, v := range pods.Spec.Volumes {
		if !mounted[v.Name] {
			r.Errorf("%s: nothing mounts volume %s", name, v.Name)
		}
		delete(mounted, v.Name)
		// What the chart does not make, the values name; cert-manager makes the third.
		if c := v.ConfigMap; c != nil && r.objects["ConfigMap "+c.Name] == nil && !strings.Contains(values, "caConfigMap: "+c.Name) {
			r.Errorf("%s: there is no ConfigMap %s", name, c.Name)
		}
		if s := v.Secret; s != nil && r.objects["Secret "+s.SecretName] == nil && !strings.Contains(values, "existingSecret: "+s.SecretName) && !strings.Contains(values, "certManager") {
			r.Errorf("%s: there is no Secret %s", name, s.SecretName)
		}
	}
	for v := range mounted {
		r.Errorf("%s: there is no volume %s", name, v)
	}
}

// TestTheControlPlaneMayDoWhatItNeeds and nothing else, and the agent nothing at all.
func TestTheControlPlaneMayDoWhatItNeeds(t *testing.T) {
	r := rendering(t, documents(t, servers))
	var got []string
	for _, rule := range r.objects["ClusterRole portolan-controlplane"].(*rbacv1.ClusterRole).Rules {
		for _, verb := range rule.Verbs {
			for _, resource := range rule.Resources {
				got = append(got, verb+" "+resource+" "+strings.Join(rule.APIGroups, ","))
			}
			for _, path := range rule.NonResourceURLs {
				got = append(got, verb+" "+path)
			}
		}
	}
	slices.Sort(got)
	want := []string{
		"create events events.k8s.io",
		"create subjectaccessreviews authorization.k8s.io",
		"create tokenreviews authentication.k8s.io",
		"get /.well-known/openid-configuration",
		"get /openid/v1/jwks",
		"get endpointslices discovery.k8s.io",
		"get nodes ",
		"get services ",
		"list endpointslices discovery.k8s.io",
		"list nodes ",
		"list servicecidrs networking.k8s.io",
		"list services ",
		"patch events events.k8s.io",
		"watch endpointslices discovery.k8s.io",
		"watch nodes ",
		"watch servicecidrs networking.k8s.io",
		"watch services ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the control plane may\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	bindings := 0
	for name, object := range r.objects {
		if binding, ok := object.(*rbacv1.ClusterRoleBinding); ok {
			bindings++
			if len(binding.Subjects) != 1 || binding.Subjects[0].Name != "portolan-controlplane" {
				t.Errorf("%s gives rights to %v", name, binding.Subjects)
			}
		}
	}
	if bindings != 1 {
		t.Errorf("%d bindings, want the control plane's alone", bindings)
	}
}

// TestAnyNamespaceWillDo: nothing is left in the usual one.
func TestAnyNamespaceWillDo(t *testing.T) {
	for name, text := range combinations {
		values, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		list, err := Render(values, "elsewhere")
		if err != nil {
			t.Fatal(err)
		}
		all := ""
		for _, document := range list {
			all += string(document)
			var object metav1.PartialObjectMetadata
			if err := yaml.Unmarshal(document, &object); err != nil {
				t.Fatal(err)
			}
			if cluster := strings.HasPrefix(object.Kind, "Cluster"); cluster == (object.Namespace != "") || !cluster && object.Namespace != "elsewhere" {
				t.Errorf("%s: %s %s is in namespace %q", name, object.Kind, object.Name, object.Namespace)
			}
		}
		if strings.Contains(all, "portolan-system") {
			t.Errorf("%s: something is in portolan-system", name)
		}
		if !strings.Contains(all, "--agent-service-account=elsewhere/portolan-agent\n") {
			t.Errorf("%s: the control plane expects agents of another namespace", name)
		}
	}
}

// TestTheAPIServerIsReachedWithoutServices if the values say where it is.
func TestTheAPIServerIsReachedWithoutServices(t *testing.T) {
	for name, want := range map[string][]string{
		"no more than is required": nil,
		"an API server apart":      {"KUBERNETES_SERVICE_HOST=api.example", "KUBERNETES_SERVICE_PORT=6443"},
		"an API server by IPv6":    {"KUBERNETES_SERVICE_HOST=2001:db8::1", "KUBERNETES_SERVICE_PORT=443"},
	} {
		r := rendering(t, documents(t, combinations[name]))
		var got []string
		for _, env := range template(r.objects["Deployment portolan-controlplane"]).Spec.Containers[0].Env {
			got = append(got, env.Name+"="+env.Value)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// TestRolesArePartOfOthersOnRequest, and never otherwise.
func TestRolesArePartOfOthersOnRequest(t *testing.T) {
	for values, want := range map[string]string{"no more than is required": "", "part of view and admin": "true"} {
		r := rendering(t, documents(t, combinations[values]))
		for role, of := range map[string]string{"portolan-view": "view", "portolan-admin": "admin"} {
			if got := r.objects["ClusterRole "+role].(*rbacv1.ClusterRole).Labels["rbac.authorization.k8s.io/aggregate-to-"+of]; got != want {
				t.Errorf("%s: %s in %s: %q, want %q", values, role, of, got, want)
			}
		}
	}
}
