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
		"a duration that is a number":          {"mode: x\nperiod: 30\n", `line 2: period "30": expected a duration such as 30s`},
		"a duration in a list":                 {"periods:\n- 1s\n- soon\n", `line 3: periods[1] "soon": expected a duration`},
		"a mapping that is none":               {"mode: x\nipvs: rr\n", `line 2: ipvs "rr": expected a mapping`},
		"a list that is none":                  {"nodes: {weight: 1}\n", `line 1: nodes "{\"weight\":1}": expected a list`},
		"a text that is a number":              {"mode: 3\n", `line 1: mode "3": expected a string`},
		"a second document":                    {"mode: x\n---\n# more\nmode: y\n", `line 4: expected one document, but here is document 2`},
		"a second document that is no YAML":    {"mode: x\n---\na: b: c\n", `line 3: expected YAML or JSON: mapping values are not allowed`},
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
	for text, want := range map[string]string{
		"ipvs: {shceduler: rr, strictArp: true}\n": `line 1: ipvs.shceduler: unknown field; did you mean "scheduler"?
line 1: ipvs.strictArp: unknown field; did you mean "strictARP"?`,
		"ipvs: {strictARP: maybe, strictArp: true}\nperiod: 30\nnodes: [{weight: x}, 3]\n": `line 1: ipvs.strictARP "maybe": expected true or false
line 1: ipvs.strictArp: unknown field; did you mean "strictARP"?
line 2: period "30": expected a duration such as 30s
line 3: nodes[0].weight "x": expected a whole number of 32 bits
line 3: nodes[1] "3": expected a mapping`,
	} {
		if err := Decode([]byte(text), &outer{}); err == nil || err.Error() != want {
			t.Errorf("error %v\nwant  %s", err, want)
		}
	}
}

func TestEmptyDocumentsBesideTheOnlyOneAreAllowed(t *testing.T) {
	for _, text := range []string{"---\nmode: x\n", "mode: x\n---\n", "mode: x\n---\n# the end\n...\n"} {
		var got outer
		if err := Decode([]byte(text), &got); err != nil || got.Mode != "x" {
			t.Errorf("%q: %+v, error %v", text, got, err)
		}
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
