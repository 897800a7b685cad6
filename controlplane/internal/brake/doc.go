// Package brake decides which removals of Services wait because they look like a
// source that has lost its Services, and not like somebody who deletes them. It is
// pure: time is passed in, and nothing is read or written.
//
//	removals of a round ─▶ Remove ─ no mass deletion ─▶ they go
//	                         │
//	                         └─ a mass deletion ─▶ held ─▶ Back    the Service is there again
//	                                                  └──▶ LetGo   confirmed, or released
//
// A mass deletion is more than Limits.Min Services and more than Limits.Share of
// what was served at some moment of the last Window, so that many small rounds are one
// deletion too. Services that come and go within the Window are not counted at a
// moment when they were not there. Once the brake is on every removal waits, until
// none is held.
//
// A control plane that has just started knows of no removals: what was there before is
// what nodes hold. Doubt asks the same question of what such a node would lose, until
// what the source delivered at the start is trusted.
package brake
