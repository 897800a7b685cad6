package v1alpha1

import (
	"encoding/json"
	"testing"
	"time"
)

func TestDurationsAreWrittenShortAndReadAgain(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: `"0s"`, 30 * time.Second: `"30s"`, 90 * time.Second: `"1m30s"`, time.Minute: `"1m"`, 24 * time.Hour: `"24h"`,
		time.Hour + time.Second: `"1h0m1s"`, 10 * time.Minute: `"10m"`, 500 * time.Millisecond: `"500ms"`, -time.Hour: `"-1h"`,
	} {
		text, err := json.Marshal(Duration(d))
		if err != nil || string(text) != want {
			t.Errorf("%v is %s, error %v; want %s", d, text, err, want)
		}
		var again Duration
		if err := json.Unmarshal(text, &again); err != nil || time.Duration(again) != d {
			t.Errorf("%s is %v, error %v; want %v", text, time.Duration(again), err, d)
		}
	}
}

func TestADurationThatIsNoneSaysWhatIsExpected(t *testing.T) {
	var d Duration
	if err := json.Unmarshal([]byte(`"soon"`), &d); err == nil || err.Error() != `"soon": expected a duration such as 30s` {
		t.Error(err)
	}
}

// TestWhatIsNotSetIsNotWritten: what is empty but set is, for it takes the place of
// what is set for all nodes.
func TestWhatIsNotSetIsNotWritten(t *testing.T) {
	group := NodeGroup{Name: "a", NodeSettings: NodeSettings{NodePortAddresses: []string{}, Masquerade: Masquerade{All: new(false)}}}
	text, err := json.Marshal(group)
	if want := `{"name":"a","selector":{},"nodePortAddresses":[],"masquerade":{"all":false}}`; err != nil || string(text) != want {
		t.Errorf("%s, error %v; want %s", text, err, want)
	}
}
