//go:build race

package discovery

// storm is how many subscribers a storm has. The race detector bears about 8,000 goroutines,
// and a subscriber and its server's side are about fifteen.
const storm = 300

// histories is how many the simulation runs, unless somebody says otherwise.
const histories = 1000
