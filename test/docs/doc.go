// Package docs runs the pages of documentation that say so, as a reader would: files are
// written, commands are run in one shell, and what they print is compared with what the
// page shows. It is a module of its own because of grpcurl.
//
// A page says so by "run by test/docs" in a comment. In it
//
//	```yaml PATH   is a file
//	```sh          are commands
//	```text        are lines that the commands before it must print, in this order, among
//	               others; "..." stands for anything
package docs
