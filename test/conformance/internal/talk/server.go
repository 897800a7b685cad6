package talk

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
)

// Serve serves an address and port for as long as the process lives, from the
// caller's thread's namespace. TCP connections, UDP packets and SCTP's INITs are answered with a
// line, "<the server's address> <the client's address>"; what TCP clients send after
// it comes back.
func Serve(protocol string, at netip.AddrPort) error {
	greeting := func(peer string) []byte { return fmt.Appendf(nil, "%s %s\n", at, peer) }
	switch protocol {
	case "tcp":
		var config net.ListenConfig
		config.SetMultipathTCP(false)
		listener, err := config.Listen(context.Background(), "tcp", at.String())
		if err != nil {
			return err
		}
		go serveTCP(listener, greeting)
	case "udp":
		socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		if err != nil {
			return err
		}
		go serveUDP(socket, greeting)
	case "sctp":
		return serveSCTP(at, greeting)
	}
	return nil
}

func serveTCP(listener net.Listener, greeting func(string) []byte) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer connection.Close()
			if _, err := connection.Write(greeting(connection.RemoteAddr().String())); err == nil {
				_, _ = io.Copy(connection, connection)
			}
		}()
	}
}

func serveUDP(socket *net.UDPConn, greeting func(string) []byte) {
	packet := make([]byte, 64)
	for {
		_, peer, err := socket.ReadFromUDPAddrPort(packet)
		if err != nil {
			return
		}
		_, _ = socket.WriteToUDPAddrPort(greeting(netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port()).String()), peer)
	}
}
