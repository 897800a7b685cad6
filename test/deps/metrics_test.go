package deps

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// sources returns the code, without tests, that patterns below the repository match.
func sources(t *testing.T, patterns ...string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range patterns {
		files, err := filepath.Glob("../../" + pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all[file] = string(text)
		}
	}
	return all
}

// metricNames finds what the code exports: full names, and those of kube-proxy, which
// begin with kubeproxy_ there.
func metricNames(t *testing.T) map[string]string {
	t.Helper()
	full := regexp.MustCompile(`(?:NewDesc\(|Name: )"((?:portolan|kube)_[a-z_]+)"[^"]*"([^"]+)"`)
	prefixed := regexp.MustCompile(`(?:histogram|gauges?|counters?)\("([a-z_]+)",\s*"([^"]+)"`)
	names := map[string]string{}
	for file, text := range sources(t, "agent/internal/metrics/*.go", "controlplane/internal/metrics/*.go", "controlplane/internal/statemetrics/*.go") {
		for _, match := range full.FindAllStringSubmatch(text, -1) {
			names[match[1]] = match[2]
		}
		if strings.HasSuffix(file, "kubeproxy.go") {
			for _, match := range prefixed.FindAllStringSubmatch(text, -1) {
				names["kubeproxy_"+match[1]] = match[2]
			}
		}
	}
	return names
}

// TestEveryMetricHasItsRow, with its help, and no row is of one that there is not.
func TestEveryMetricHasItsRow(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, match := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|[^|]*\\|[^|]*\\| (.*) \\|$").FindAllStringSubmatch(string(page), -1) {
		rows[match[1]] = match[2]
	}
	names := metricNames(t)
	const fewest = 55
	if len(names) < fewest {
		t.Errorf("found %d metrics in the code, expected at least %d", len(names), fewest)
	}
	for name, help := range names {
		if rows[name] != help {
			t.Errorf("%s: the page says %q, the code %q", name, rows[name], help)
		}
	}
	for name := range rows {
		if names[name] == "" {
			t.Errorf("%s: the page has it, and the code has not", name)
		}
	}
}
