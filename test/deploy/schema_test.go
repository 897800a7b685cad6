package deploy

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"sigs.k8s.io/yaml"
)

// known is as much of a JSON schema as says which values there are.
type known struct {
	Type                 any
	Properties           map[string]known
	AdditionalProperties any
}

// TestTheSchemaKnowsTheValuesThatThereAre, all of them and no others: a value that is let in
// and has no effect is worse than one that is refused.
func TestTheSchemaKnowsTheValuesThatThereAre(t *testing.T) {
	var all known
	if err := json.Unmarshal([]byte(read(t, Chart+"/values.schema.json")), &all); err != nil {
		t.Fatal(err)
	}
	delete(all.Properties, "global") // Helm's own, which a chart around this one may set.
	var values map[string]any
	if err := yaml.UnmarshalStrict([]byte(read(t, Chart+"/values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	compare(t, "", all, values)
}

func compare(t *testing.T, path string, of known, values map[string]any) {
	t.Helper()
	if of.AdditionalProperties != false {
		t.Errorf("%s takes what there is not", path)
	}
	have, want := slices.Sorted(maps.Keys(values)), slices.Sorted(maps.Keys(of.Properties))
	if !slices.Equal(have, want) {
		t.Errorf("%s has %v, its schema %v", path, have, want)
	}
	for name, value := range values {
		// What has no names of its own is Kubernetes' or, config, that of the nodes.
		if child := of.Properties[name]; len(child.Properties) > 0 && name != "config" {
			compare(t, path+"."+name, child, value.(map[string]any))
		}
	}
}
