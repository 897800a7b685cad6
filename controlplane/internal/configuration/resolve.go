package configuration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/portolan-net/portolan/api/config/v1alpha1"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/strictyaml"
)

// resolve turns a configuration into settings, with its faults in our own field names.
func resolve(config v1alpha1.Configuration) (settings compile.Settings, warnings, faults []*strictyaml.Fault) {
	defaults := v1alpha1.Defaults()
	base := merge(defaults.NodeSettings, config.NodeSettings)
	all := &check{}
	settings = all.settings(base)
	if config.AllowExternalIPs != nil {
		settings.IgnoreExternalIPs = !*config.AllowExternalIPs
	}
	// What is wrong for all nodes is not said again for some.
	if len(all.faults) > 0 {
		return settings, nil, all.faults
	}
	names, general := map[string]int{}, all.warnings
	for i, group := range config.Nodes {
		c := &check{prefix: fmt.Sprintf("nodes[%d].", i)}
		c.groupName(group.Name, names, i)
		resolved := compile.Group{Name: group.Name, Selector: c.selector(group.Selector)}
		resolved.Settings = c.settings(merge(base, group.NodeSettings))
		resolved.Settings.IgnoreExternalIPs = settings.IgnoreExternalIPs
		settings.Groups = append(settings.Groups, resolved)
		all.faults, all.warnings = append(all.faults, c.faults...), append(all.warnings, c.beside(general)...)
	}
	return settings, all.warnings, all.faults
}

// merge returns settings with what others set in its place. What JSON leaves out is not
// set, and a list that is set takes the place of the whole list: json.Unmarshal does
// just that.
func merge(base, over v1alpha1.NodeSettings) v1alpha1.NodeSettings {
	var merged v1alpha1.NodeSettings
	for _, settings := range []v1alpha1.NodeSettings{base, over} {
		text, err := json.Marshal(settings)
		if err == nil {
			err = json.Unmarshal(text, &merged)
		}
		if err != nil {
			panic(fmt.Sprintf("settings are not their own JSON: %v", err))
		}
	}
	return merged
}

// groupName requires a name that no group before has.
func (c *check) groupName(name string, names map[string]int, i int) {
	first, taken := names[name]
	switch {
	case name == "":
		c.fail("name", "", "expected a name for these nodes")
	case taken:
		c.fail("name", name, "expected each name once, but nodes[%d] has it", first)
	default:
		names[name] = i
	}
}

func (c *check) selector(in v1alpha1.Selector) labels.Selector {
	out := &metav1.LabelSelector{MatchLabels: in.MatchLabels}
	for _, r := range in.MatchExpressions {
		out.MatchExpressions = append(out.MatchExpressions, metav1.LabelSelectorRequirement{Key: r.Key, Operator: metav1.LabelSelectorOperator(r.Operator), Values: r.Values})
	}
	selector, err := metav1.LabelSelectorAsSelector(out)
	if err != nil {
		c.fail("selector", "", "expected a selector of labels: %v", err)
		return labels.Nothing()
	}
	return selector
}

// check gathers what is wrong with, and without effect in, one set of settings.
type check struct {
	prefix   string
	faults   []*strictyaml.Fault
	warnings []*strictyaml.Fault
}

func (c *check) fail(field, value, format string, args ...any) {
	c.faults = append(c.faults, &strictyaml.Fault{Field: c.prefix + field, Value: value, Message: fmt.Sprintf(format, args...)})
}

func (c *check) warn(field, value, format string, args ...any) {
	c.warnings = append(c.warnings, &strictyaml.Fault{Field: c.prefix + field, Value: value, Message: fmt.Sprintf(format, args...)})
}

// beside returns the warnings but for those that are about all nodes.
func (c *check) beside(general []*strictyaml.Fault) []*strictyaml.Fault {
	return slices.DeleteFunc(c.warnings, func(w *strictyaml.Fault) bool {
		return slices.ContainsFunc(general, func(g *strictyaml.Fault) bool {
			return c.prefix+g.Field == w.Field && g.Value == w.Value && g.Message == w.Message
		})
	})
}

// natural returns a number that must not be negative.
func (c *check) natural(field string, number int32) uint32 {
	if number < 0 {
		c.fail(field, strconv.Itoa(int(number)), "expected at least 0")
		return 0
	}
	return uint32(number)
}
