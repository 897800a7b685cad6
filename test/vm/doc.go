// Command vm runs a program as root of a virtual machine of its own, with a kernel that
// this one may not have: that of a distribution, under qemu's software emulation.
//
//	vm --kernel DIR --module ip_vs --module nft_nat --file nft=/usr/sbin/nft -- ./ipvs.test -test.v
//
// The machine has nothing but an initramfs, made anew each time: the program, which must
// be linked statically, the files asked for with the libraries that they need, the modules
// with those that they depend on, and package guest's program as init. It has no network
// but its own. Its console is this command's output, and the program's exit status is
// this command's.
package main
