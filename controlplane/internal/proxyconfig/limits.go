package proxyconfig

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/portolan-net/portolan/api/config/v1alpha1"
	"github.com/portolan-net/portolan/controlplane/internal/strictyaml"
)

// limits refuses what kube-proxy would refuse in fields that have no effect here, or
// not in this mode: a file that is wrong is wrong.
func (i *Import) limits() error {
	var faults []error
	fail := func(field, value, expected string) {
		faults = append(faults, i.fault(field, value, expected))
	}
	if adj := i.file.OOMScoreAdj; adj != nil && (*adj < -1000 || *adj > 1000) {
		fail("oomScoreAdj", strconv.Itoa(int(*adj)), "expected -1000 to 1000")
	}
	for _, period := range []struct {
		field string
		value time.Duration
	}{
		{"configSyncPeriod", i.file.ConfigSyncPeriod.Duration},
		{"iptables.syncPeriod", i.file.IPTables.SyncPeriod.Duration}, {"iptables.minSyncPeriod", i.file.IPTables.MinSyncPeriod.Duration},
		{"nftables.syncPeriod", i.file.NFTables.SyncPeriod.Duration}, {"nftables.minSyncPeriod", i.file.NFTables.MinSyncPeriod.Duration},
		{"ipvs.syncPeriod", i.file.IPVS.SyncPeriod.Duration}, {"ipvs.minSyncPeriod", i.file.IPVS.MinSyncPeriod.Duration},
	} {
		if period.value < 0 {
			fail(period.field, period.value.String(), "expected at least 0s")
		}
	}
	for _, listen := range []struct{ field, value string }{
		{"healthzBindAddress", i.file.HealthzBindAddress}, {"metricsBindAddress", i.file.MetricsBindAddress},
	} {
		if listen.value != "" && !isBindAddress(listen.value) {
			fail(listen.field, listen.value, "expected an address and port such as 0.0.0.0:10256")
		}
	}
	return errors.Join(faults...)
}

// primaryFamily is that of bindAddress, if it chooses one.
func (i *Import) primaryFamily() (v1alpha1.Family, error) {
	if !namesAnAddress(i.file) {
		return "", nil
	}
	addr, err := netip.ParseAddr(i.file.BindAddress)
	if err != nil || addr.Zone() != "" {
		return "", i.fault("bindAddress", i.file.BindAddress, "expected an IP address such as 0.0.0.0")
	}
	if addr.Unmap().Is6() {
		return v1alpha1.IPv6, nil
	}
	return v1alpha1.IPv4, nil
}

// fault is about one of kube-proxy's fields, or the flag that set it.
func (i *Import) fault(field, value, expected string) error {
	fault := &strictyaml.Fault{Field: field, Value: value, Message: expected}
	if flag, ok := i.flags[field]; ok {
		fault.Field = flag
	}
	if i.Text != nil {
		fault.Line = strictyaml.LineOf(i.Text, field)
	}
	return fault
}

// isBindAddress tells whether an address can be listened on, with a port or without
// one, as kube-proxy has it.
func isBindAddress(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		_, err = netip.ParseAddr(address)
		return err == nil
	}
	_, err = netip.ParseAddrPort(net.JoinHostPort(host, port))
	return err == nil
}
