package deploy

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
)

// TestCleaningUpNeedsNetAdminAlone, is done by the chart's image, and is a command of its program.
func TestCleaningUpNeedsNetAdminAlone(t *testing.T) {
	list, err := split(read(t, "../../deploy/manifests/cleanup.yaml"))
	if err != nil || len(list) != 1 {
		t.Fatalf("%d objects (%v), want one", len(list), err)
	}
	set := decode(t, list[0]).(*appsv1.DaemonSet)
	r := rendering(t, documents(t, servers))
	r.selects("the cleanup", set.Spec.Selector, &set.Spec.Template)
	spec := set.Spec.Template.Spec
	if want := []string{"host namespaces", "non-default capabilities"}; !slices.Equal(violations(t, api.LevelBaseline, set.Spec.Template), want) {
		t.Errorf("it is beyond the baseline by %v, want %v alone", violations(t, api.LevelBaseline, set.Spec.Template), want)
	}
	agent := template(r.objects["DaemonSet portolan-agent"]).Spec
	for _, container := range []corev1.Container{spec.InitContainers[0], spec.Containers[0]} {
		checkContainer(t, container, []corev1.Capability{"NET_ADMIN"})
		if container.Image != agent.Containers[0].Image {
			t.Errorf("image %s, the agent's is %s", container.Image, agent.Containers[0].Image)
		}
	}
	if spec.Tolerations[0] != agent.Tolerations[0] || !spec.HostNetwork || spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
		t.Error("it is not on the nodes and the network that the agent is on, or has a token")
	}
	words := append(slices.Clone(spec.Containers[0].Command), "--help")
	command := exec.Command("go", append([]string{"run", "./cmd" + words[0]}, words[1:]...)...)
	command.Dir = "../.."
	if out, err := command.CombinedOutput(); err != nil || !strings.Contains(string(out), "portolan-agent cleanup [flags]") {
		t.Errorf("%v: %v\n%s", words, err, out)
	}
}
