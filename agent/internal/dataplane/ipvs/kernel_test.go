package ipvs

import (
	"errors"
	"os"
	"testing"
)

// TestAKernelWithoutIPVSSaysSo where it has none. Where it has, kernel_vm_test.go begins.
func TestAKernelWithoutIPVSSaysSo(t *testing.T) {
	k, err := openKernel()
	if err == nil {
		k.close()
	}
	if _, missing := os.Stat(loadedFile); (missing != nil) != errors.Is(err, errNoIPVS) {
		t.Errorf("%s: %v, opened with %v", loadedFile, missing, err)
	}
}
