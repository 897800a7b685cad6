// Package objects reads Kubernetes API objects into model values. It is pure: the
// same object gives the same value, whichever source it came from.
//
// Each function returns one of three things:
//
//	value, problems, nil   in force, except for the parts that problems name
//	nil, nil, nil          valid, but not for this proxy: whatever was known is gone
//	nil, nil, *Error       unusable as a whole: the caller keeps its last good state
//
// A part is skipped only where serving the rest is what the API means (one bad
// external IP of several). Where skipping would serve something that nobody asked
// for (a source range that does not parse, a port that is out of range), the whole
// object is refused.
package objects
