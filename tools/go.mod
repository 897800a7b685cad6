// The build tools, apart from the product so that their requirements never reach its go.mod.
module github.com/portolan-net/portolan/tools

go 1.26.0
