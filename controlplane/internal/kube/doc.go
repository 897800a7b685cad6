// Package kube is the source that follows a Kubernetes API server. It only lists
// and watches; it never writes. It is the only package that uses client-go.
//
//	API server ── list, watch ──▶ reflector ── strip ──▶ sink ── admission.Writer
//
// Each kind has a reflector, which lists (or streams the initial state), watches,
// and starts again after errors. It feeds a sink in place of an informer's cache:
// objects are converted as they arrive and nothing of them is kept, so the control
// plane holds each object once, as a model value. An initial list is one update.
//
// The last resource version of each kind is recorded with every update, so that
// subscribers can tell a replica that is behind.
package kube
