package check

import "fmt"

// The kernels that are needed, for sets of ranges in concatenated keys, and tested.
var (
	neededKernel = [2]int{5, 6}
	testedKernel = [2]int{6, 1}
)

// Kernel judges a kernel by its release, such as 6.1.0-41-amd64.
func Kernel(release string) Finding {
	var have [2]int
	if _, err := fmt.Sscanf(release, "%d.%d", &have[0], &have[1]); err != nil {
		return Skipped("the kernel's version is %q: expected MAJOR.MINOR", release)
	}
	before := func(other [2]int) bool { return have[0] < other[0] || have[0] == other[0] && have[1] < other[1] }
	switch {
	case before(neededKernel):
		return Failed("the kernel is Linux %s: expected %d.%d or later", release, neededKernel[0], neededKernel[1]).Do("Upgrade the node's system.")
	case before(testedKernel):
		return Warned("the kernel is Linux %s: Portolan was tested on %d.%d and later", release, testedKernel[0], testedKernel[1]).
			Do("Go by what the probes of this kernel say, or upgrade the node's system.")
	default:
		return Passed("the kernel is Linux %s", release)
	}
}
