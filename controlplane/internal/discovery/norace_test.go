//go:build !race

package discovery

// storm is how many subscribers a storm has.
const storm = 1500

// histories and multitude are how many histories the simulation runs, unless somebody
// says otherwise, and how many nodes the largest has.
const (
	histories = 10_000
	multitude = 5000
)
