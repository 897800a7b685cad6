// Package manifest is the source for clusters without an API server: a file or a
// directory of ordinary Kubernetes YAML or JSON, watched for changes. It reads
// Service, EndpointSlice, Node and ServiceCIDR, also in Lists, and ignores every
// other kind.
//
//	files ── split, decode ──▶ catalog ── what changed ──▶ admission.Writer
//
// Decoding is strict: an unknown or repeated field is an error that names file,
// line, object and field. A document that cannot be decoded is reported under
// "file NAME", and as long as a file has one, nothing that the file defined before
// is taken for deleted. Of two definitions of an object the one in the first file
// by name counts. A Service needs a clusterIP, or None: nobody allocates one here.
//
// A change is read at once, without waiting for more. Most writers are done by
// then; of those who are not, the half-written file either does not decode or
// lacks objects that it had, and such a reading counts only once it has not changed
// for a while (see settle.go).
//
// Names that begin with a dot are skipped, except for the ..data link by which the
// kubelet swaps all files of a ConfigMap at once.
package manifest
