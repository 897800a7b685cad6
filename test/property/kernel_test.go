package property

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/portolan-net/portolan/agent/simulate"
	"github.com/portolan-net/portolan/test/netns"
)

func TestMain(m *testing.M) { netns.Main(m) }

// TestTheKernelHoldsTheRuleset edits a few random clusters on the real kernel. What it
// holds after the edits, as nft reads it, must be what it holds when it is programmed
// anew.
func TestTheKernelHoldsTheRuleset(t *testing.T) {
	kernel, err := simulate.OpenKernel(hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := kernel.Close(); err != nil {
			t.Error(err)
		}
	}()
	for name, s := range settings(t) {
		t.Run(name, func(t *testing.T) {
			seeds := 0
			rapid.Check(t, func(t *rapid.T) {
				if seeds++; seeds > kernelRuns {
					return
				}
				w := newWorld(t, s)
				w.node.Program(kernel)
				w.edit(t, []metav1.Object{nodeObject(here, "zone-a", 1), nodeObject("node-b", "zone-b", 2), serviceCIDR()}, nil)
				for range rapid.IntRange(1, 8).Draw(t, "edits") {
					set, deleted := randomEdit(t)
					w.edit(t, set, deleted)
				}
				kernel.Settle()
				got := listing(t)
				w.anew(t).node.Program(kernel)
				if err := kernel.Err(); err != nil {
					t.Fatalf("%v\n%s", err, w.manifest())
				}
				if diff := cmp.Diff(listing(t), got); diff != "" {
					t.Fatalf("the kernel's content after all edits (+) is not the one made anew (-)\n%s\n%s", diff, w.manifest())
				}
			})
		})
	}
}

// kernelRuns is how many clusters of each setting the kernel gets to see.
const kernelRuns = 25

// listing returns the elements of all sets and maps, as nft reads them, ordered.
func listing(t *rapid.T) []string {
	var lines []string
	for _, family := range []string{"ip", "ip6"} {
		text, err := exec.Command("nft", "-j", "list", "table", family, "portolan").Output()
		if err != nil {
			t.Fatalf("nft: %v", err)
		}
		var ruleset struct {
			Nftables []map[string]struct {
				Name string            `json:"name"`
				Elem []json.RawMessage `json:"elem"`
			} `json:"nftables"`
		}
		// Rules and what else there is have other fields, which do not matter.
		if err := json.Unmarshal(text, &ruleset); err != nil {
			t.Fatalf("nft -j: %v", err)
		}
		for _, object := range ruleset.Nftables {
			for _, kind := range []string{"set", "map"} {
				set := object[kind]
				if set.Name == "content-digest" {
					continue // It is also of the slots.
				}
				var elements []string
				for _, e := range set.Elem {
					elements = append(elements, string(e))
				}
				if strings.HasSuffix(set.Name, "endpoints") {
					elements = withoutSlots(t, set.Name, elements)
				}
				for _, e := range elements {
					lines = append(lines, fmt.Sprintf("%s %s %s", family, set.Name, e))
				}
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// withoutSlots replaces the slots of a frontend, which depend on how its backends came,
// by nothing, after checking that they are dense.
func withoutSlots(t *rapid.T, set string, elements []string) []string {
	var lines []string
	slots := map[string][]int{}
	for _, e := range elements {
		var pair []struct {
			Concat []any `json:"concat"`
		}
		if err := json.Unmarshal([]byte(e), &pair); err != nil || len(pair) != 2 {
			lines = append(lines, e) // A set, whose elements have no slot.
			continue
		}
		key := pair[0].Concat
		frontend := fmt.Sprint(key[:len(key)-1]...)
		slot, ok := key[len(key)-1].(float64)
		if !ok {
			t.Fatalf("%s: slot %v", set, key)
		}
		slots[frontend] = append(slots[frontend], int(slot))
		lines = append(lines, frontend+" -> "+fmt.Sprint(pair[1].Concat...))
	}
	for frontend, list := range slots {
		slices.Sort(list)
		for i, slot := range list {
			if i != slot {
				t.Fatalf("%s: %s has the slots %v: expected them to be dense", set, frontend, list)
			}
		}
	}
	return lines
}
