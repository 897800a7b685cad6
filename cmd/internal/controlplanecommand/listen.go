package controlplanecommand

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
)

// listen listens on host:port or unix:PATH; the error names the flag.
func listen(ctx context.Context, flag, address string) (net.Listener, error) {
	var listener net.Listener
	var err error
	if path, isUnix := strings.CutPrefix(address, "unix:"); isUnix {
		listener, err = listenUnix(ctx, path)
	} else {
		listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", flag, address, err)
	}
	return listener, nil
}

// listenUnix replaces the socket of a process that was killed: nothing else would
// remove it, and the control plane could not start again.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	config := net.ListenConfig{}
	listener, err := config.Listen(ctx, "unix", path)
	if !errors.Is(err, syscall.EADDRINUSE) || !abandoned(ctx, path) {
		return listener, err
	}
	if err := os.Remove(path); err != nil {
		return nil, fmt.Errorf("removing the socket of a process that is gone: %w", err)
	}
	return config.Listen(ctx, "unix", path)
}

// abandoned tells whether nobody listens at a socket. The kernel answers
// ECONNREFUSED for a file that is no socket, too, and that is not ours to remove.
func abandoned(ctx context.Context, path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return false
	}
	connection, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err == nil {
		_ = connection.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
