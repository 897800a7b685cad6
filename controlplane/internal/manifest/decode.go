package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/portolan-net/portolan/controlplane/internal/strictyaml"
)

// maxNesting bounds Lists of Lists.
const maxNesting = 4

// decoded is what one document says. Lines in it count from the document.
type decoded struct {
	objects []object
	faults  []fault
	// ignored names objects of kinds that are not read.
	ignored []id
}

type object struct {
	id
	value metav1.Object
}

// fault is why a document, or an item of a List, cannot be used.
type fault struct {
	// line counts from 1; 0 is unknown.
	line    int
	object  id
	field   string
	value   string
	message string
}

// decode reads one document strictly.
func decode(text []byte) *decoded {
	out := &decoded{}
	data := bytes.TrimSpace(text)
	if !json.Valid(data) {
		var err error
		if data, err = yaml.YAMLToJSONStrict(text); err != nil {
			d := decoder{text: text, out: out}
			d.syntax(err)
			return out
		}
	}
	if string(data) == "null" {
		return out
	}
	d := decoder{text: text, out: out}
	d.value(data, "", header{}, 0)
	return out
}

// syntax reports a document that is no YAML, or repeats a key. The latter can still
// tell which object it is about.
func (d *decoder) syntax(err error) {
	syntax := strictyaml.Syntax(err)
	f := fault{line: syntax.Line, message: syntax.Message}
	if data, err := yaml.YAMLToJSON(d.text); err == nil {
		var h header
		if json.Unmarshal(data, &h) == nil {
			f.object = h.object()
		}
	}
	d.out.faults = append(d.out.faults, f)
}

// header is what every object begins with.
type header struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
}

func (h header) id() id { return id{h.Kind, h.Metadata.Namespace, h.Metadata.Name} }

// object returns the id for people, with the namespace that an object has that
// names none.
func (h header) object() id {
	object := h.id()
	if known := kinds[h.Kind]; known.namespaced && object.namespace == "" && object.name != "" {
		object.namespace = metav1.NamespaceDefault
	}
	return object
}

type decoder struct {
	text []byte
	out  *decoded
}

// value reads one object; path is where it is in the document. Items of a typed
// list such as ServiceList need not repeat their kind.
func (d *decoder) value(data []byte, path string, implied header, depth int) {
	h := implied
	// Errors are found again, with their place, by the strict decoding below.
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &h); err != nil && data[0] != '{' {
		d.fault(h, path, "", "expected an object with apiVersion and kind")
		return
	}
	known, ok := kinds[h.Kind]
	switch {
	case h.Kind == "":
		d.fault(h, join(path, "kind"), "", "expected a kind, such as Service")
	case strings.HasSuffix(h.Kind, "List"):
		d.list(data, path, h, depth)
	case !ok || h.APIVersion != "" && group(h.APIVersion) != group(known.apiVersion):
		d.out.ignored = append(d.out.ignored, h.id())
	case h.APIVersion != known.apiVersion:
		d.fault(h, join(path, "apiVersion"), h.APIVersion, "expected "+known.apiVersion)
	default:
		d.object(data, path, h, known)
	}
}

// list reads a List, or a list of one kind. Lists of other kinds are ignored.
func (d *decoder) list(data []byte, path string, h header, depth int) {
	itemKind := strings.TrimSuffix(h.Kind, "List")
	implied := header{}
	if itemKind != "" {
		known, ok := kinds[itemKind]
		if !ok || group(h.APIVersion) != group(known.apiVersion) {
			d.out.ignored = append(d.out.ignored, h.id())
			return
		}
		implied.APIVersion, implied.Kind = h.APIVersion, itemKind
	}
	if depth == maxNesting {
		d.fault(h, path, "", fmt.Sprintf("expected at most %d Lists within each other", maxNesting))
		return
	}
	var list struct {
		metav1.TypeMeta `json:",inline"`
		metav1.ListMeta `json:"metadata"`
		Items           []json.RawMessage `json:"items"`
	}
	if !d.strict(data, path, h, &list) {
		return
	}
	for i, item := range list.Items {
		d.value(item, fmt.Sprintf("%s[%d]", join(path, "items"), i), implied, depth+1)
	}
}

func (d *decoder) object(data []byte, path string, h header, known kind) {
	value := known.make()
	if !d.strict(data, path, h, value) {
		return
	}
	if field, bad, expected := complete(value, known.namespaced); field != "" {
		d.fault(h, join(path, field), bad, expected)
		return
	}
	d.out.objects = append(d.out.objects, object{id{h.Kind, value.GetNamespace(), value.GetName()}, value})
}

// strict decodes and reports every field that is unknown, repeated or of the
// wrong type.
func (d *decoder) strict(data []byte, path string, h header, into any) bool {
	faults := strictyaml.Unmarshal(data, into)
	for _, f := range faults {
		message := f.Message
		if strings.HasSuffix(message, " field") {
			message += ": expected only fields of the Kubernetes API, each once" + f.Hint
		}
		d.fault(h, join(path, f.Field), f.Value, message)
	}
	return len(faults) == 0
}

func (d *decoder) fault(h header, field, value, message string) {
	d.out.faults = append(d.out.faults, fault{
		line: strictyaml.LineOf(d.text, field), object: h.object(),
		field: field, value: value, message: message,
	})
}

func join(path, field string) string {
	if path == "" || field == "" {
		return path + field
	}
	return path + "." + field
}
