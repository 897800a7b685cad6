package proxyconfig

import (
	"fmt"
	"reflect"
	"strings"

	kubeproxyv1alpha1 "k8s.io/kube-proxy/config/v1alpha1"

	"github.com/portolan-net/portolan/api/config/v1alpha1"
	"github.com/portolan-net/portolan/controlplane/internal/strictyaml"
)

// Kind is the kind of kube-proxy's configuration.
const Kind = "KubeProxyConfiguration"

// Import is kube-proxy's configuration in our terms.
type Import struct {
	Configuration v1alpha1.Configuration
	// Items say what became of each field or flag that is set.
	Items []Item
	// Text is the file, for the lines of its fields; nil of flags.
	Text []byte

	file *file
	// flags are the flags that fields were set by; nil of a file.
	flags map[string]string
}

// FromFile imports a file.
func FromFile(text []byte) (*Import, error) {
	in := &file{}
	if err := strictyaml.Decode(text, in); err != nil {
		return nil, err
	}
	if want := kubeproxyv1alpha1.SchemeGroupVersion.String(); in.APIVersion != want || in.Kind != Kind {
		return nil, fmt.Errorf("apiVersion %q, kind %q: expected %q, %q", in.APIVersion, in.Kind, want, Kind)
	}
	imported := &Import{Text: text, file: in}
	data, err := strictyaml.ToJSON(text)
	if err != nil {
		return nil, err
	}
	if err := imported.convert(leaves(reflect.TypeFor[file](), parse(data), "")); err != nil {
		return nil, err
	}
	imported.Items = append(imported.Items, imported.defaulted()...)
	return imported, nil
}

// convert fills in what the file comes to, and what becomes of what is set in it.
func (i *Import) convert(set []leaf) error {
	if err := i.limits(); err != nil {
		return err
	}
	family, err := i.primaryFamily()
	if err != nil {
		return err
	}
	i.Configuration = convert(i.file)
	i.Configuration.PrimaryFamily = family
	for _, leaf := range set {
		// kubeadm writes everything: what is as if it were left out and would be ignored
		// is not worth a word.
		if item := i.item(leaf); item.Outcome != Ignored || !leaf.zero {
			i.Items = append(i.Items, item)
		}
	}
	return nil
}

// Warnings say what has no effect, and why.
func (i *Import) Warnings() []string {
	var list []string
	said := map[string]bool{}
	for _, item := range i.Items {
		switch {
		case item.Outcome == Ignored && !said[item.about]:
			said[item.about] = true
			list = append(list, item.about+" has no effect here: it "+item.Note)
		case item.Outcome == Honoured || item.Outcome == Mapped:
			if item.Note != "" {
				list = append(list, fmt.Sprintf("%s %q: %s", item.Field, item.Value, item.Note))
			}
		default: // Defaults are as expected.
		}
	}
	return list
}

// Name returns what one of our fields is called where it was imported from.
func (i *Import) Name(own string) string {
	name, index, _ := strings.Cut(own, "[")
	for j := range Fields {
		if f := &Fields[j]; f.Own == name && f.effective(i.file) {
			name = f.Path
			break
		}
	}
	if flag, ok := i.flags[name]; ok {
		return flag
	}
	if index != "" && name != "clusterCIDR" { // Which is a text and no list.
		name += "[" + index
	}
	return name
}
