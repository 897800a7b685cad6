package clustercheck

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/portolan-net/portolan/api/check"
	"github.com/portolan-net/portolan/controlplane/internal/admission"
	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/kube"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/objects"
)

// domain is that of our annotations.
const domain = "portolan.net/"

func (c *inspection) servicesChecks() []check.Check {
	about := func(id, title, well string, is func(model.Problem) bool, advice string) check.Check {
		return judges(check.Always, id, title, c.problems, func(all []model.Problem) check.Finding { return judgeProblems(all, is, well, advice) })
	}
	return []check.Check{
		about("services-valid", "every Service can be served as it is", "all Services can be served as they are",
			func(p model.Problem) bool { return of(p, "Service") && p.Reason != model.Conflict && !annotates(p) },
			"Mend the field that is named; until then the Service, or that part of it, is not served."),
		about("services-addresses", "no Service has another's address", "no Service has another's address",
			func(p model.Problem) bool { return of(p, "Service") && p.Reason == model.Conflict },
			"Give the address up in one of the Services; the older one has it meanwhile."),
		about("services-weights", "annotations of Services can be read", "all annotations of Services can be read", annotates,
			"Mend the entry that is named: docs/reference/schedulers.md says what there is."),
		judges(check.Always, "services-annotations", "annotations of Portolan's are ones that it knows", c.objects, judgeAnnotations),
		judges(check.Always, "services-other-proxy", "no Service is left to another proxy", c.objects, judgeOtherProxy),
		about("services-endpoints", "every EndpointSlice can be used as it is", "all EndpointSlices can be used as they are",
			func(p model.Problem) bool { return of(p, "EndpointSlice") },
			"Mend the EndpointSlice, or what makes it; until then that endpoint is not sent to."),
		about("services-ranges", "every ServiceCIDR can be read", "all ServiceCIDRs can be read",
			func(p model.Problem) bool { return of(p, "ServiceCIDR") }, "Mend the ServiceCIDR."),
	}
}

func (c *inspection) findProblems() ([]model.Problem, error) {
	all, err := c.objects()
	if err != nil {
		return nil, err
	}
	return problemsOf(all), nil
}

// problemsOf has the objects go the way that they go in a control plane.
func problemsOf(all *kube.Objects) []model.Problem {
	store := cluster.NewStore()
	admission.NewWriter(store, hclog.NewNullLogger(), admission.DefaultLimits()).Update(func(b *admission.Batch) {
		for i := range all.ServiceCIDRs {
			b.SetServiceCIDR(&all.ServiceCIDRs[i])
		}
		for i := range all.Services {
			b.SetService(&all.Services[i])
		}
		for i := range all.Slices {
			b.SetEndpointSlice(&all.Slices[i])
		}
	})
	return store.Problems()
}

func of(p model.Problem, kind string) bool { return strings.HasPrefix(p.Object, kind+" ") }

func annotates(p model.Problem) bool { return strings.HasPrefix(p.Field, "metadata.annotations[") }

func judgeProblems(all []model.Problem, is func(model.Problem) bool, well, advice string) check.Finding {
	const shown = 3
	var found []string
	for _, p := range all {
		if is(p) {
			found = append(found, p.String())
		}
	}
	switch {
	case len(found) == 0:
		return check.Passed("%s", well)
	case len(found) > shown:
		return check.Warned("%s; and %d more", strings.Join(found[:shown], "; "), len(found)-shown).Do("%s", advice)
	default:
		return check.Warned("%s", strings.Join(found, "; ")).Do("%s", advice)
	}
}

func judgeAnnotations(all *kube.Objects) check.Finding {
	known := []string{objects.AnnotationScheduler, objects.AnnotationWeights}
	var unknown []string
	for i := range all.Services {
		for annotation := range all.Services[i].Annotations {
			if strings.HasPrefix(annotation, domain) && !slices.Contains(known, annotation) {
				unknown = append(unknown, fmt.Sprintf("%s of %s/%s", annotation, all.Services[i].Namespace, all.Services[i].Name))
			}
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return check.Warned("annotations without effect: %s: expected %s", check.Few(unknown), strings.Join(known, " or ")).Do("Correct the name, or take the annotation away.")
	}
	return check.Passed("all annotations of %s are known", domain)
}

func judgeOtherProxy(all *kube.Objects) check.Finding {
	var others []string
	for i := range all.Services {
		if _, other := all.Services[i].Labels[objects.LabelProxyName]; other {
			others = append(others, all.Services[i].Namespace+"/"+all.Services[i].Name)
		}
	}
	if len(others) > 0 {
		return check.Warned("%d Services have the label %s, and are not served: %s", len(others), objects.LabelProxyName, check.Few(others)).Do("See that another proxy serves them, or take the label away.")
	}
	return check.Passed("none of %d Services has the label %s", len(all.Services), objects.LabelProxyName)
}
