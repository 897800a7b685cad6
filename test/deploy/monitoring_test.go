package deploy

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const files = Chart + "/files/"

type rules struct {
	Groups []struct {
		Rules []struct {
			Alert, Expr string
			Labels      map[string]string
			Annotations map[string]string
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestAlertsPageWhenTheyShould and not otherwise: by promtool, in time that it makes up.
func TestAlertsPageWhenTheyShould(t *testing.T) {
	out, err := exec.Command("promtool", "test", "rules", "alerts_test.yaml").CombinedOutput()
	if err != nil {
		t.Fatalf("promtool: %v\n%s", err, out)
	}
	cases := read(t, "alerts_test.yaml")
	for _, alert := range alerts(t) {
		if !strings.Contains(cases, alert) {
			t.Errorf("nothing shows that %s pages", alert)
		}
	}
}

func alerts(t *testing.T) []string {
	t.Helper()
	var found rules
	if err := yaml.Unmarshal([]byte(read(t, files+"alerts/portolan.yaml")), &found); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, rule := range found.Groups[0].Rules {
		names = append(names, rule.Alert)
		want := "docs/reference/alerts.md#" + strings.ToLower(rule.Alert)
		if !strings.HasSuffix(rule.Annotations["runbook_url"], want) || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" || rule.Labels["severity"] == "" {
			t.Errorf("%s: labels %v, annotations %v", rule.Alert, rule.Labels, rule.Annotations)
		}
	}
	return names
}

// TestEveryAlertHasItsRunbook and each runbook its alert.
func TestEveryAlertHasItsRunbook(t *testing.T) {
	var headings []string
	for _, match := range regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(read(t, "../../docs/reference/alerts.md"), -1) {
		headings = append(headings, match[1])
	}
	if names := alerts(t); len(names) < 12 || !slices.Equal(headings, names) {
		t.Errorf("runbooks %v, alerts %v", headings, names)
	}
}

// TestWhatIsWatchedIsMeasured: each metric of an alert or a dashboard is one that a program has.
func TestWhatIsWatchedIsMeasured(t *testing.T) {
	known := map[string]bool{}
	for _, dir := range []string{"../../agent/internal/metrics", "../../controlplane/internal/metrics"} {
		sources, err := filepath.Glob(dir + "/*.go")
		if err != nil || len(sources) == 0 {
			t.Fatal(dir, err)
		}
		for _, source := range sources {
			for _, match := range regexp.MustCompile(`"((?:portolan|kubeproxy)_\w+)"`).FindAllStringSubmatch(read(t, source), -1) {
				known[match[1]] = true
			}
			for _, match := range regexp.MustCompile(`"(\w+_duration_seconds)"`).FindAllStringSubmatch(read(t, source), -1) {
				known["kubeproxy_"+match[1]] = true
			}
		}
	}
	dashboards, err := filepath.Glob(files + "dashboards/*.json")
	if err != nil || len(dashboards) != 3 {
		t.Fatal(dashboards, err)
	}
	texts := map[string]string{"alerts": read(t, files+"alerts/portolan.yaml")}
	for _, path := range dashboards {
		var dashboard struct {
			UID, Title string
			Panels     []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal([]byte(read(t, path)), &dashboard); err != nil {
			t.Fatal(path, err)
		}
		var b strings.Builder
		for _, panel := range dashboard.Panels {
			for _, target := range panel.Targets {
				b.WriteString(target.Expr + "\n")
			}
		}
		if dashboard.UID == "" || len(dashboard.Panels) < 9 {
			t.Errorf("%s: uid %q, %d panels", path, dashboard.UID, len(dashboard.Panels))
		}
		texts[filepath.Base(path)] = b.String()
	}
	for _, where := range slices.Sorted(maps.Keys(texts)) {
		for _, name := range regexp.MustCompile(`\b(?:portolan|kubeproxy)_\w+`).FindAllString(texts[where], -1) {
			base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
			if !known[base] {
				t.Errorf("%s: no program has %s", where, name)
			}
		}
	}
}
