//go:build !race

package discovery

// storm is how many subscribers a storm has.
const storm = 1500
