package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Generation returns the number of the last nftables transaction of the host.
func (h *Host) Generation() (generation uint32, err error) {
	err = h.Do(func() error {
		request := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN, 0)
		request.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC, Version: nl.NFNETLINK_V0})
		messages, err := request.Execute(unix.NETLINK_NETFILTER, 0)
		if err != nil {
			return fmt.Errorf("asking %s for its generation: %w", h.Name, err)
		}
		generation, err = generationIn(messages)
		return err
	})
	return generation, err
}

func generationIn(messages [][]byte) (uint32, error) {
	for _, message := range messages {
		attributes, err := nl.ParseRouteAttr(message[nl.SizeofNfgenmsg:])
		if err != nil {
			return 0, err
		}
		for _, attribute := range attributes {
			if attribute.Attr.Type == unix.NFTA_GEN_ID {
				return binary.BigEndian.Uint32(attribute.Value), nil
			}
		}
	}
	return 0, errors.New("no generation in the kernel's answer")
}

// HasIPVS tells whether the kernel has IPVS now.
func HasIPVS() bool {
	_, err := os.Stat("/proc/net/ip_vs")
	return err == nil
}
