//go:build !race

package discovery

// storm is how many subscribers a storm has.
const storm = 1500

// histories is how many the simulation runs, unless somebody says otherwise.
const histories = 10_000
