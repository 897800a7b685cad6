package objects

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/portolan-net/portolan/api/address"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// AnnotationWeights gives endpoints of a Service weights: "10.244.1.5=3,pod/web-0=7,
// node/node-a=0".
const AnnotationWeights = "portolan.net/weights"

const (
	podPrefix  = "pod/"
	nodePrefix = "node/"
)

// weights reads the weights that a Service gives. An entry that cannot be used is left
// out, and the endpoints that it may have meant have the weight that they would have
// without it.
func weights(r *report, value string) *model.Weights {
	var out model.Weights
	for _, entry := range strings.FieldsFunc(value, isSeparator) {
		if expected := addWeight(&out, entry); expected != "" {
			r.skip("metadata.annotations["+AnnotationWeights+"]", shorten(entry), "%s; the entry is ignored", expected)
		}
	}
	if len(out.Addresses)+len(out.Pods)+len(out.Nodes) == 0 {
		return nil
	}
	return &out
}

// isSeparator lets entries be written on lines of their own too.
func isSeparator(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' || r == '\r' }

// addWeight adds an entry, or returns what was expected of it.
func addWeight(w *model.Weights, entry string) (expected string) {
	who, text, found := strings.Cut(entry, "=")
	if !found {
		return "expected WHO=WEIGHT, such as 10.244.1.5=3, pod/web-0=3 or node/node-a=3"
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "expected a weight from 0 to 65535"
	}
	weight := uint16(number)
	if pod, ok := strings.CutPrefix(who, podPrefix); ok {
		return setWeight(&w.Pods, pod, weight)
	}
	if node, ok := strings.CutPrefix(who, nodePrefix); ok {
		return setWeight(&w.Nodes, node, weight)
	}
	addr, err := address.Parse(who)
	if err != nil {
		return "expected an IP address, pod/NAME or node/NAME"
	}
	return setWeight(&w.Addresses, addr, weight)
}

func setWeight[K string | netip.Addr](into *map[K]uint16, who K, weight uint16) (expected string) {
	var nobody K
	if who == nobody {
		return "expected a name"
	}
	if _, taken := (*into)[who]; taken {
		return "expected each once, of which the first counts"
	}
	if *into == nil {
		*into = map[K]uint16{}
	}
	(*into)[who] = weight
	return ""
}
