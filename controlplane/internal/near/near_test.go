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
	among := []string{"web-3", "web-2", "web-1", "web-0", "webs", "WEB"}
	if got := Names("webz", among); len(got) != most || got[0] != "webs" {
		t.Errorf("suggested %q", got)
	}
	if got := Names("web", among); len(got) != 1 || got[0] != "WEB" {
		t.Errorf("suggested %q where there is no doubt", got)
	}
}
