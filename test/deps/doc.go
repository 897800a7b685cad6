// Package deps tests the structure of the project itself: who may import whom,
// and that every dependency has its reason.
package deps
