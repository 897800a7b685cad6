// Package scripts tells stories of people at a shell: what they type, what they are
// told, and what the kernel then holds. Each file in testdata is a story, run by
// testscript with the real programs in a network namespace of the tests.
package scripts
