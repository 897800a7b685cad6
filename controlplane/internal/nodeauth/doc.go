// Package nodeauth decides who a peer on the agents' port is, and whether it may have a
// node's view. It knows nothing of streams, and of Kubernetes only what a token says.
//
//	token ── Verifier ──▶ Identity ── Authorizer ──▶ Grant, until the token ends
//	           │ keys                     │
//	    cluster's JWKS               Reviewer ── asks the API server, again and again ──▶ revoked
//
// A token is a ServiceAccount token that is bound to a pod and names its node (KEP-1205,
// KEP-4193), for an audience of our own. Its signature is verified here, by the keys that the
// cluster publishes, so that agents are let in while the API server is away. What only the API
// server knows, that the pod is gone, it is asked in the background.
//
// A certificate, where certificates are asked for, names the node in its common name or in a
// DNS name.
package nodeauth
