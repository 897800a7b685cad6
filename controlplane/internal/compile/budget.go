package compile

import "github.com/portolan-net/portolan/controlplane/internal/model"

// Endpoints counts a Service's endpoints, once for each Service port that they
// serve: what its resources and every node's rules grow with. It looks at ports and
// lengths only, so it is cheap where compiling would not be.
func Endpoints(service *model.Service, slicesOf []*model.Slice) int {
	if service == nil {
		return 0
	}
	type port struct {
		name     string
		protocol model.Protocol
	}
	wanted := make(map[port]struct{}, len(service.Ports))
	for _, p := range service.Ports {
		wanted[port{p.Name, p.Protocol}] = struct{}{}
	}
	count := 0
	for _, slice := range slicesOf {
		if !service.HasFamily(slice.Is6) {
			continue
		}
		for _, p := range slice.Ports {
			if _, serves := wanted[port{p.Name, p.Protocol}]; serves {
				count += len(slice.Endpoints)
			}
		}
	}
	return count
}
