package admission

import (
	"fmt"
	"strconv"

	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/objects"
)

// check refuses a Service that is beyond a limit; nil is none.
func (l Limits) check(service *model.Service) error {
	if service == nil || l.PortsPerService == 0 || len(service.Ports) <= l.PortsPerService {
		return nil
	}
	return &objects.Error{Problems: []model.Problem{{
		Object: objects.ServiceName(service.Key), Field: "spec.ports", Value: strconv.Itoa(len(service.Ports)) + " ports",
		Message: fmt.Sprintf("expected at most %d (--max-service-ports)", l.PortsPerService),
		Reason:  model.Exceeded,
	}}}
}
