// Package talk is servers that say who they are and whom they see, and clients that
// tell an answer, a refusal and silence apart.
package talk
