// Package version says which version of Portolan this is.
package version

import (
	"runtime"
	"runtime/debug"
)

// release is set by the linker in a release build.
var release string

// String returns the version: a release's number, else "devel" and the commit if
// the build knows it.
func String() string {
	if release != "" {
		return release
	}
	version := "devel"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" && len(setting.Value) >= 12 {
			version += "-" + setting.Value[:12]
		}
	}
	return version
}

// Long returns the version with what it was built for.
func Long(program string) string {
	return program + " " + String() + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
}
