package reference

import (
	"strconv"
	"strings"
)

// weightsAnnotation gives endpoints weights, in entries such as "10.244.1.5=3",
// "pod/web-0=3" and "node/node-a=3".
const weightsAnnotation = "portolan.net/weights"

// drained tells whether an endpoint has the weight 0, and so no new connections. Of the
// entries for its address, else of those for its Pod, else of those for its node, the
// first that can be read counts.
func drained(e endpoint, weights string) bool {
	entries := strings.Fields(strings.ReplaceAll(weights, ",", " "))
	isAddress := func(who string) bool {
		address, ok := parseAddress(who)
		return ok && address == e.address.Addr()
	}
	for _, isMeant := range []func(string) bool{
		isAddress,
		func(who string) bool { return e.podName != "" && who == "pod/"+e.podName },
		func(who string) bool { return e.nodeName != "" && who == "node/"+e.nodeName },
	} {
		for _, entry := range entries {
			who, text, _ := strings.Cut(entry, "=")
			if weight, err := strconv.ParseUint(text, 10, 16); err == nil && isMeant(who) {
				return weight == 0
			}
		}
	}
	return false
}
