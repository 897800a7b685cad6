package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/portolan-net/portolan/test/e2e/internal/lab"
	"github.com/portolan-net/portolan/test/e2e/internal/product"
)

// TestMain builds the programs, where modules can still be downloaded, and runs the
// tests in a network namespace of their own.
func TestMain(m *testing.M) {
	if lab.Inside() {
		os.Exit(m.Run())
	}
	flag.Parse()
	os.Exit(prepareAndEnter())
}

func prepareAndEnter() int {
	dir, err := os.MkdirTemp("", "portolan-e2e-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = product.Build(dir)
	}
	if err == nil {
		err = product.BuildKubeProxy(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if benchmarks := flag.Lookup("test.bench").Value.String() != ""; benchmarks && os.Getuid() == 0 {
		return lab.EnterAsRoot() // See BenchmarkKubeProxy.
	}
	return lab.Enter()
}
