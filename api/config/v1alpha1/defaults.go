package v1alpha1

import "time"

// Defaults returns what fields have that are left out. Those that it leaves out itself
// are empty or 0.
func Defaults() Configuration {
	return Configuration{
		APIVersion: APIVersion, Kind: Kind,
		NodeSettings: NodeSettings{
			Mode:               ModeNFTables,
			NodePortAddresses:  []string{"primary"},
			LocalhostNodePorts: new(false),
			DetectLocal:        DetectLocal{Mode: DetectNodeCIDR},
			Masquerade:         Masquerade{All: new(false), Bit: new(int32(14))},
			Sync:               Sync{Period: new(Duration(30 * time.Second)), MinPeriod: new(Duration(0))},
			IPVS: IPVS{
				Scheduler: "rr", StrictARP: new(false),
				TCPTimeout: new(Duration(0)), TCPFinTimeout: new(Duration(0)), UDPTimeout: new(Duration(0)),
			},
			Conntrack: Conntrack{
				MaxPerCore: new(int32(0)), Min: new(int32(0)), TCPBeLiberal: new(false),
				TCPEstablishedTimeout: new(Duration(0)), TCPCloseWaitTimeout: new(Duration(0)),
				UDPTimeout: new(Duration(0)), UDPStreamTimeout: new(Duration(0)),
			},
		},
		AllowExternalIPs: new(true),
	}
}
