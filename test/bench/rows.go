package main

// sections are the tables of the document. The targets are our own.
var sections = []section{
	{title: "What a change costs", rows: []row{
		{what: "agent and kernel, one endpoint replaced: 10,000 Services × 10 / 1,000 × 10", run: "A",
			figure: metric{"OneChange", "cpu-us/change-at-10k"}, shown: "µs CPU",
			against: metric{"OneChange", "cpu-us/change-at-1k"}, peer: "at 1,000", target: target{atMost, 1.5}},
		{what: "control plane, one change sent to one stream: 10,000 / 1,000 Services", run: "C",
			figure: metric{"OneChange/services=10000", "ns/op"}, shown: "µs", by: 1000,
			against: metric{"OneChange/services=1000", "ns/op"}, peer: "at 1,000", target: target{atMost, 1.5}},
		{what: "admission of one changed slice: 10,000 / 100 Services", run: "D",
			figure: metric{"OneOfMany/10000", "ns/op"}, shown: "µs", by: 1000,
			against: metric{"OneOfMany/100", "ns/op"}, peer: "at 100", target: target{atMost, 1.5}},
	}},
}
