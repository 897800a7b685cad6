package conformance

// knownFailures are probes, "scenario: line", that show where Portolan does not do yet
// what it must, and why. One that comes to pass has to be struck from the list.
var knownFailures = map[string]string{
	"external-ips: S41 pod pc1 -> tcp 198.51.100.40:80 = untouched": "the feature gate AllowServiceExternalIPs is not read",
}
