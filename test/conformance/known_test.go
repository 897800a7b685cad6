package conformance

// knownFailures are probes, "scenario: line", that show where Portolan does not do yet
// what it must, and why. One that comes to pass has to be struck from the list.
var knownFailures = map[string]string{}
