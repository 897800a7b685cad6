//go:build race

package discovery

// storm is how many subscribers a storm has. The race detector bears about 8,000 goroutines,
// and a subscriber and its server's side are about fifteen.
const storm = 300

// histories and multitude are how many histories the simulation runs, unless somebody
// says otherwise, and how many nodes the largest has.
const (
	histories = 500
	multitude = 200
)
