//go:build race

package discovery

// storm is how many subscribers a storm has. The race detector bears 8,128 goroutines,
// and a subscriber and its server's side are about fifteen.
const storm = 150
