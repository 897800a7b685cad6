package strictyaml

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type inner struct {
	StrictARP bool   `json:"strictARP"`
	Scheduler string `json:"scheduler"`
	Weight    int32  `json:"weight"`
}

type inline struct {
	Mode string `json:"mode"`
}

type outer struct {
	inline  `json:",inline"`
	IPVS    *inner             `json:"ipvs"`
	Nodes   []inner            `json:"nodes"`
	Period  metav1.Duration    `json:"period"`
	Periods []*metav1.Duration `json:"periods"`
}

func TestFaultsHaveTheirLineAndWhatWasMeant(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"a misspelt field":                     {"mode: ipvs\nipvs:\n  scheduler: rr\n  strictArp: true\n", `line 4: ipvs.strictArp: unknown field; did you mean "strictARP"?`},
		"one of another mapping":               {"mode: ipvs\nscheduler: rr\n", `line 2: scheduler: unknown field; did you mean "ipvs.scheduler"?`},
		"one like no other":                    {"mode: ipvs\nfoo: 1\n", `line 2: foo: unknown field`},
		"one of an embedded struct":            {"mod: ipvs\n", `line 1: mod: unknown field; did you mean "mode"?`},
		"one in a list":                        {"nodes:\n- {}\n- wieght: 1\n", `line 3: nodes[1].wieght: unknown field; did you mean "weight"?`},
		"one below a field that is no mapping": {"mode: ipvs\nipvs:\n  nodes: []\n", `line 3: ipvs.nodes: unknown field; did you mean "nodes"?`},
		"a repeated key":                       {"mode: ipvs\nipvs: {}\nmode: nftables\n", `line 3: key "mode" already set in map: expected each key once`},
		"a value of the wrong type":            {"ipvs:\n  strictARP: maybe\n", `line 2: ipvs.strictARP "maybe": expected true or false`},
		"a number that is too large":           {"nodes:\n- weight: 99999999999\n", `line 2: nodes[0].weight "99999999999": expected a whole number of 32 bits`},
		"a duration":                           {"mode: x\nperiod: 30x\n", `line 2: period "30x": expected a duration such as 30s`},
		"a duration that is a number":          {"mode: x\nperiod: 30\n", `line 2: period "30": expected a string`},
		"a duration in a list":                 {"periods:\n- 1s\n- soon\n", `line 3: periods[1] "soon": expected a duration`},
		"no YAML":                              {"a: b: c\n", `expected YAML or JSON: mapping values are not allowed`},
		"no mapping":                           {"- 1\n", `expected a mapping`},
	} {
		t.Run(name, func(t *testing.T) {
			if err := Decode([]byte(test.text), &outer{}); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}
}

func TestEveryFaultIsFound(t *testing.T) {
	err := Decode([]byte("ipvs: {shceduler: rr, strictArp: true}\n"), &outer{})
	if err == nil || strings.Count(err.Error(), "did you mean") != 2 {
		t.Error(err)
	}
}

func TestWhatIsRightIsDecoded(t *testing.T) {
	var got outer
	if err := Decode([]byte("mode: ipvs\nipvs: {strictARP: true}\nnodes: [{weight: 3}]\n"), &got); err != nil {
		t.Fatal(err)
	}
	if got.Mode != "ipvs" || !got.IPVS.StrictARP || got.Nodes[0].Weight != 3 {
		t.Errorf("decoded %+v", got)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("mode: ipvs\nipvs: {strictArp: true}\n"))
	f.Fuzz(func(_ *testing.T, text []byte) { _ = Decode(text, &outer{}) })
}
