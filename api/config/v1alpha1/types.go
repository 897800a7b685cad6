package v1alpha1

// What a file of this version begins with.
const (
	APIVersion = "portolan.net/v1alpha1"
	Kind       = "Configuration"
)

// Configuration configures all nodes, and some of them otherwise.
type Configuration struct {
	// `portolan.net/v1alpha1`.
	APIVersion string `json:"apiVersion"`
	// `Configuration`.
	Kind string `json:"kind"`

	NodeSettings `json:",inline"`

	// Whether external IPs of Services are served, on any node.
	AllowExternalIPs *bool `json:"allowExternalIPs,omitzero"`
	// Nodes that are configured otherwise. The first whose selector matches a Node's
	// labels counts, alone: what it sets takes the place of the same field above, and
	// what it does not set is as above. A list takes the place of the whole list.
	Nodes []NodeGroup `json:"nodes,omitzero"`
}

// NodeGroup is what is different for the nodes that it selects.
type NodeGroup struct {
	// How people call these nodes; `portolan get nodes -o wide` shows it. Each name once.
	Name string `json:"name"`
	// Which Nodes, by their labels. An empty one selects all.
	Selector Selector `json:"selector"`

	NodeSettings `json:",inline"`
}

// Selector selects Nodes by their labels, as Kubernetes' label selectors do: all of it
// must hold.
type Selector struct {
	// Labels with their values.
	MatchLabels map[string]string `json:"matchLabels,omitzero"`
	// Requirements, each with `key`, `operator` (`In`, `NotIn`, `Exists`, `DoesNotExist`) and `values`.
	MatchExpressions []Requirement `json:"matchExpressions,omitzero"`
}

// Requirement is what must hold for one label.
type Requirement struct {
	// The label.
	Key string `json:"key"`
	// `In`, `NotIn`, `Exists` or `DoesNotExist`.
	Operator string `json:"operator"`
	// What it may be, or may not, for `In` and `NotIn`.
	Values []string `json:"values,omitzero"`
}

// NodeSettings is what can differ from node to node.
type NodeSettings struct {
	// The data plane: `nftables` or `ipvs`.
	Mode Mode `json:"mode,omitzero"`
	// `IPv4` or `IPv6`: which of a Node's addresses comes first. Left out: that which the Node has first.
	PrimaryFamily Family `json:"primaryFamily,omitzero"`
	// Where node ports answer: CIDRs of local addresses, or `primary` alone, the Node's own addresses.
	NodePortAddresses []string `json:"nodePortAddresses,omitzero"`
	// Node ports answer on 127.0.0.1 and ::1 too, for TCP: the agent listens there and passes connections on.
	LocalhostNodePorts *bool `json:"localhostNodePorts,omitzero"`
	// How a node recognises packets of its own pods.
	DetectLocal DetectLocal `json:"detectLocal,omitzero"`
	// What is sent on with an address of the node.
	Masquerade Masquerade `json:"masquerade,omitzero"`
	// When the kernel is compared and brought up to date.
	Sync Sync `json:"sync,omitzero"`
	// For nodes in mode `ipvs`.
	IPVS IPVS `json:"ipvs,omitzero"`
	// The kernel's connection tracking.
	Conntrack Conntrack `json:"conntrack,omitzero"`
}

// Mode is a data plane.
type Mode string

// The data planes.
const (
	ModeNFTables Mode = "nftables"
	ModeIPVS     Mode = "ipvs"
)

// Family is an address family.
type Family string

// The address families.
const (
	IPv4 Family = "IPv4"
	IPv6 Family = "IPv6"
)

// DetectLocalMode is a way to recognise packets of a node's own pods.
type DetectLocalMode string

// The ways to recognise packets of a node's own pods.
const (
	DetectClusterCIDR         DetectLocalMode = "ClusterCIDR"
	DetectNodeCIDR            DetectLocalMode = "NodeCIDR"
	DetectBridgeInterface     DetectLocalMode = "BridgeInterface"
	DetectInterfaceNamePrefix DetectLocalMode = "InterfaceNamePrefix"
)

// DetectLocal tells how to recognise packets of a node's own pods.
type DetectLocal struct {
	// By source, `ClusterCIDR` or `NodeCIDR` (the Node's pod CIDRs); by where they come in, `BridgeInterface` or `InterfaceNamePrefix`.
	Mode DetectLocalMode `json:"mode,omitzero"`
	// The pods' CIDRs, at most one of each family, for `ClusterCIDR`.
	ClusterCIDRs []string `json:"clusterCIDRs,omitzero"`
	// The interface's name, or what its name begins with, for the two interface modes.
	Interface string `json:"interface,omitzero"`
}

// Masquerade tells what is sent on with an address of the node.
type Masquerade struct {
	// All traffic to ClusterIPs is, not only that from outside the pods.
	All *bool `json:"all,omitzero"`
	// The bit of the packet mark that asks for it, 0 to 31.
	Bit *int32 `json:"bit,omitzero"`
}

// Sync tells when the kernel is compared and brought up to date.
type Sync struct {
	// How often a node compares; `/healthz` fails when a change has waited for twice as long.
	Period *Duration `json:"period,omitzero"`
	// How long changes gather between two; 0s: each goes to the kernel at once.
	MinPeriod *Duration `json:"minPeriod,omitzero"`
}

// IPVS is for nodes in mode ipvs.
type IPVS struct {
	// How connections are spread: `rr`, `wrr`, `lc`, `wlc`, `lblc`, `lblcr`, `dh`, `sh`, `sed`, `nq`, `fo`, `ovf` or `mh`. A Service has its own with the annotation `portolan.net/scheduler`.
	Scheduler string `json:"scheduler,omitzero"`
	// The node answers ARP only for addresses of the interface that is asked (`arp_ignore` 1, `arp_announce` 2), as MetalLB needs it.
	StrictARP *bool `json:"strictARP,omitzero"`
	// When an idle TCP connection is forgotten; 0s: as the kernel has it. Whole seconds.
	TCPTimeout *Duration `json:"tcpTimeout,omitzero"`
	// The same after a FIN.
	TCPFinTimeout *Duration `json:"tcpFinTimeout,omitzero"`
	// The same for UDP.
	UDPTimeout *Duration `json:"udpTimeout,omitzero"`
	// Virtual servers of these addresses, which others have made, are left alone.
	ExcludeCIDRs []string `json:"excludeCIDRs,omitzero"`
}

// Conntrack is the kernel's connection tracking. What is 0 stays as the kernel has it.
type Conntrack struct {
	// How many connections are tracked, for each processor.
	MaxPerCore *int32 `json:"maxPerCore,omitzero"`
	// How many are tracked at least, whatever maxPerCore comes to.
	Min *int32 `json:"min,omitzero"`
	// When an idle TCP connection is forgotten. Whole seconds, as those below.
	TCPEstablishedTimeout *Duration `json:"tcpEstablishedTimeout,omitzero"`
	// The same in state CLOSE_WAIT.
	TCPCloseWaitTimeout *Duration `json:"tcpCloseWaitTimeout,omitzero"`
	// The same for UDP without an answer.
	UDPTimeout *Duration `json:"udpTimeout,omitzero"`
	// The same for UDP with answers.
	UDPStreamTimeout *Duration `json:"udpStreamTimeout,omitzero"`
	// TCP packets outside the window are not taken for invalid.
	TCPBeLiberal *bool `json:"tcpBeLiberal,omitzero"`
}
