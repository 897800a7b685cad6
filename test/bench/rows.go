package main

import "strings"

// peerShape is whom the rules of a cluster are compared with.
const peerShape = "kube-proxy's shape"

// sections are the tables of the document. The targets are our own.
var sections = []section{
	{title: "What a change costs", rows: []row{
		{what: "agent and kernel, one endpoint replaced: 10,000 Services × 10 / 1,000 × 10", run: "A",
			figure: metric{"OneChange", "cpu-us/change-at-10k"}, shown: "µs CPU",
			against: metric{"OneChange", "cpu-us/change-at-1k"}, peer: "at 1,000", target: target{atMost, 1.5}},
		{what: "the same, 10,000 × 10 / the same bytes sent alone", run: "A",
			figure: metric{"OneChangeOverFloor/services=10000", "ours-cpu-us/change"}, shown: "µs CPU",
			against: metric{"OneChangeOverFloor/services=10000", "floor-cpu-us/change"}, peer: "floor", target: target{atMost, 3}},
		overPeer("1,000 × 10", "1000", target{}),
		overPeer("5,000 × 10", "5000", target{atMost, 1.0 / 200}),
		overPeer("10,000 × 10", "10000", target{}),
		{what: "control plane, one change sent to one stream: 10,000 / 1,000 Services", run: "E",
			figure: metric{"OneChange/services=10000", "ns/op"}, shown: "µs", by: 1000,
			against: metric{"OneChange/services=1000", "ns/op"}, peer: "at 1,000", target: target{atMost, 1.5}},
		{what: "admission of one changed slice: 10,000 / 100 Services", run: "G",
			figure: metric{"OneOfMany/10000", "ns/op"}, shown: "µs", by: 1000,
			against: metric{"OneOfMany/100", "ns/op"}, peer: "at 100", target: target{atMost, 1.5}},
		{what: "write to a real API server → packet at the new endpoint, p50", run: "I",
			figure: metric{"APIWriteToPacket", "p50-us"}, shown: "ms", by: 1000, target: target{atMost, 5}},
		{what: "the same, p99", run: "I",
			figure: metric{"APIWriteToPacket", "p99-us"}, shown: "ms", by: 1000, target: target{atMost, 20}},
		{what: "of it, after the API server's answer / its own write, p50", run: "I",
			figure: metric{"APIAnswerToPacket", "p50-us"}, shown: "ms", by: 1000,
			against: metric{"APIWriteAlone", "p50-us"}, peer: "in the API server"},
	}},
	{title: "kube-proxy itself, on the same API server", rows: []row{
		overKubeProxy("write to a real API server → packet at the new endpoint, p50, 1,000 × 10 / kube-proxy", "1000", "ours-p50-us", "kube-proxy-p50-us", target{atMost, 1.0 / 50}),
		overKubeProxy("the same, the slowest of 30", "1000", "ours-p99-us", "kube-proxy-p99-us", target{}),
		overKubeProxy("the same, p50 / kube-proxy with minSyncPeriod 1 ms", "1000", "ours-p50-us", "kube-proxy-eager-p50-us", target{}),
		overKubeProxy("the same, p50, 5,000 × 10 / kube-proxy", "5000", "ours-p50-us", "kube-proxy-p50-us", target{}),
		overKubeProxy("agent and kernel, one endpoint changed, 1,000 × 10 / kube-proxy and its nft", "1000", "ours-agent-cpu-us/change", "kube-proxy-cpu-us/change", target{}),
		overKubeProxy("the same, 5,000 × 10", "5000", "ours-agent-cpu-us/change", "kube-proxy-cpu-us/change", target{atMost, 1.0 / 200}),
		overKubeProxy("the same, 5,000 × 10, an agent without checkpoint", "5000", "ours-unsaved-agent-cpu-us/change", "kube-proxy-cpu-us/change", target{}),
		overKubeProxy("control plane beside it, once in a cluster, 5,000 × 10 / kube-proxy, on each node", "5000", "ours-controlplane-cpu-us/change", "kube-proxy-cpu-us/change", target{}),
		besideKubeProxy("agent's memory, 1,000 × 10 / kube-proxy", "1000"),
		besideKubeProxy("the same, 5,000 × 10", "5000"),
		{what: "control plane's memory, API server's objects, 5,000 × 10", run: "J",
			figure: metric{"KubeProxy/services=5000", "ours-controlplane-rss-MB"}, shown: "MB", asRoot: true},
	}},
	{title: "Whole loads", rows: []row{
		{what: "agent and kernel, 10,000 Services × 10 replaced / the same bytes sent alone", run: "A",
			figure: metric{"WholeLoadOverFloor/services=10000", "ours-cpu-ms/load"}, shown: "ms CPU",
			against: metric{"WholeLoadOverFloor/services=10000", "floor-cpu-ms/load"}, peer: "floor", target: target{atMost, 1.3}},
		{what: "the same, 1,000 × 10", run: "A",
			figure: metric{"WholeLoadOverFloor/services=1000", "ours-cpu-ms/load"}, shown: "ms CPU",
			against: metric{"WholeLoadOverFloor/services=1000", "floor-cpu-ms/load"}, peer: "floor", target: target{atMost, 1.3}},
		{what: "agent and kernel, empty table → 10,000 × 10 / " + peerShape, run: "B",
			figure: metric{"Peer/services=10000", "ours-cpu-ms/load"}, shown: "ms CPU",
			against: metric{"Peer/services=10000", "peer-cpu-ms/load"}, peer: peerShape, target: target{atMost, 1.0 / 20}},
		{what: "the same, 1,000 × 10", run: "B",
			figure: metric{"Peer/services=1000", "ours-cpu-ms/load"}, shown: "ms CPU",
			against: metric{"Peer/services=1000", "peer-cpu-ms/load"}, peer: peerShape},
		{what: "control plane, 10,000 sets of 10 endpoints to a subscriber that comes with nothing / marshal per client", run: "F",
			figure: metric{"FullSyncs", "ours-cpu-ms/sync"}, shown: "ms CPU",
			against: metric{"FullSyncs", "peer-cpu-ms/sync"}, peer: "marshalling", target: target{atMost, 0.2}},
	}},
	{title: "New connections, among 1,000 Services × 10", rows: []row{
		{what: "per second of CPU, both ends: ours / " + peerShape, run: "C",
			figure: metric{"NewConnections", "ours-connections/cpu-s"}, shown: "/s",
			against: metric{"NewConnections", "peer-connections/cpu-s"}, peer: peerShape, target: target{atLeast, 1}},
		{what: "the same: ours / no rules and no connection tracking", run: "C",
			figure: metric{"NewConnections", "ours-connections/cpu-s"}, shown: "/s",
			against: metric{"NewConnections", "direct-connections/cpu-s"}, peer: "direct", target: target{atLeast, 0.75}},
		{what: "lost while the endpoints of their Service changed as fast as they could, of 1,000,000", run: "D",
			figure: metric{"NewConnectionsWhileEndpointsFlip", "lost"}, shown: "lost", target: target{atMost, 0}},
		{what: "changes in that time", run: "D",
			figure: metric{"NewConnectionsWhileEndpointsFlip", "changes"}, shown: "changes"},
		{what: "begun and ended, counted for each Service (`--service-traffic-period`) / not counted", run: "K",
			figure: metric{"Connections", "counted-cpu-us/connection"}, shown: "µs CPU",
			against: metric{"Connections", "plain-cpu-us/connection"}, peer: "not counted"},
		{what: "connection table with 50,000 connections of Services, read once in a period", run: "K",
			figure: metric{"Table", "cpu-ms/table"}, shown: "ms CPU"},
	}},
	{title: "Fan-out: one commit, sent to all streams and acknowledged by all", rows: []row{
		fanOut("1", "10", target{}), fanOut("1", "100", target{}), fanOut("1", "1000", target{}), fanOut("1", "5000", target{}),
		fanOut("100", "100", target{atMost, 0.35}), fanOut("100", "1000", target{atMost, 0.35}),
		fanOut("100", "5000", target{atMost, 0.35}),
		{what: "control plane's memory for each of 5,000 streams", run: "F",
			figure: metric{"FanOut/resources=1/streams=5000", "KiB/stream"}, shown: "KiB", target: target{atMost, 45}},
		{what: "tracing, for each node that acknowledges a traced revision / one that is not sampled", run: "L",
			figure: metric{"Answers/traced", "cpu-us/answer"}, shown: "µs CPU",
			against: metric{"Answers/not_sampled", "cpu-us/answer"}, peer: "not sampled"},
	}},
	{title: "What the programs take", rows: []row{
		footprint("agent's memory, 10,000 × 10, settled", "10000", "agent-rss-MB", "MB", target{atMost, 20}),
		footprint("the same, at most", "10000", "agent-peak-MB", "MB", target{atMost, 32}),
		footprint("agent's memory, 5,000 × 10, settled", "5000", "agent-rss-MB", "MB", target{}),
		footprint("the same, at most", "5000", "agent-peak-MB", "MB", target{}),
		footprint("agent's memory after a restart with unchanged state, 10,000 × 10", "10000", "agent-restarted-rss-MB", "MB", target{}),
		footprint("control plane's memory, manifests of 10,000 × 10, settled", "10000", "controlplane-rss-MB", "MB", target{}),
		footprint("the same, 5,000 × 10", "5000", "controlplane-rss-MB", "MB", target{}),
		footprint("agent restarted with unchanged state, 10,000 × 10: from its start until it says that the kernel holds everything", "10000", "restart-ms", "ms", target{}),
		footprint("kernel transactions in that time", "10000", "restart-kernel-transactions", "", target{atMost, 0}),
		{what: "bytes of resources sent to it then / a full sync", run: "H",
			figure: metric{"Footprint/services=10000", "bytes/reconnect"}, shown: "B",
			against: metric{"Footprint/services=10000", "bytes/full-sync"}, peer: "full sync", target: target{atMost, 0.01}},
		{what: "bytes of resources sent for one change / a full sync", run: "H",
			figure: metric{"Footprint/services=10000", "bytes/change"}, shown: "B",
			against: metric{"Footprint/services=10000", "bytes/full-sync"}, peer: "full sync"},
		{what: "the same: 10,000 × 10 / 5,000 × 10", run: "H",
			figure: metric{"Footprint/services=10000", "bytes/change"}, shown: "B",
			against: metric{"Footprint/services=5000", "bytes/change"}, peer: "at 5,000", target: target{atMost, 1.5}},
	}},
}

func overPeer(size, services string, t target) row {
	name := "Peer/services=" + services
	return row{what: "agent and kernel, one endpoint replaced, " + size + " / " + peerShape, run: "B",
		figure: metric{name, "ours-cpu-us/change"}, shown: "µs CPU",
		against: metric{name, "peer-cpu-us/change"}, peer: peerShape, target: t}
}

func overKubeProxy(what, services, ours, peer string, t target) row {
	name, shown := "KubeProxy/services="+services, "ms"
	if strings.HasSuffix(ours, "-cpu-us/change") {
		shown += " CPU"
	}
	return row{what: what, run: "J", asRoot: true, figure: metric{name, ours}, shown: shown, by: 1000,
		against: metric{name, peer}, peer: "kube-proxy", target: t}
}

func besideKubeProxy(what, services string) row {
	name := "KubeProxy/services=" + services
	return row{what: what, run: "J", asRoot: true, figure: metric{name, "ours-agent-rss-MB"}, shown: "MB",
		against: metric{name, "kube-proxy-rss-MB"}, peer: "kube-proxy"}
}

func fanOut(resources, streams string, t target) row {
	name := "FanOut/resources=" + resources + "/streams=" + streams
	return row{what: "changed resources: " + resources + ", streams: " + streams + ", / marshal per client", run: "F",
		figure: metric{name, "ours-cpu-ms/commit"}, shown: "ms CPU",
		against: metric{name, "peer-cpu-ms/commit"}, peer: "marshalling", target: t}
}

func footprint(what, services, unit, shown string, t target) row {
	return row{what: what, run: "H", figure: metric{"Footprint/services=" + services, unit}, shown: shown, target: t}
}
