package near

import "testing"

func TestHintsNameWhatWasMeant(t *testing.T) {
	fields := []string{"strictARP", "scheduler", "syncPeriod", "minSyncPeriod", "demo/web", "demo/api"}
	for name, want := range map[string]string{
		"strictArp":   `; did you mean "strictARP"?`,
		"STRICTARP":   `; did you mean "strictARP"?`,
		"shceduler":   `; did you mean "scheduler"?`,
		"syncPeriods": `; did you mean "syncPeriod"?`,
		"other/web":   `; did you mean "demo/web"?`,
		"demo/wab":    `; did you mean "demo/web"?`,
		"completely":  "",
	} {
		if got := Hint(name, fields); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestTheLikeliestComesFirstAndAFewAreEnough(t *testing.T) {
	got := Names("web", []string{"web-3", "web-2", "web-1", "web-0", "webs", "web"})
	if len(got) != most || got[0] != "web" {
		t.Errorf("suggested %q", got)
	}
}
