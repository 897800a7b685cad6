module github.com/portolan-net/portolan/test/vm

go 1.26.0

require (
	github.com/cavaliergopher/cpio v1.0.1
	golang.org/x/sys v0.49.0
)
