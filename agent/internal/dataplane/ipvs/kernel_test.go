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
	_, missing := os.Stat(loadedFile)
	if (missing != nil) != errors.Is(err, errNoIPVS) {
		t.Errorf("%s: %v, opened with %v", loadedFile, missing, err)
	}
	if missing == nil {
		return // The probe is for a namespace to throw away.
	}
	if _, err := ProbeSchedulers(); !errors.Is(err, errNoIPVS) {
		t.Errorf("probed with %v", err)
	}
}
