package discovery

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
)

const (
	// keepaliveTime and keepaliveTimeout say when a silent peer is dead.
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 5 * time.Second
	// minPing is how often a peer may ping; subscribers do every 10 s.
	minPing = 5 * time.Second
	// maxRequest holds a Resume of all kinds, or an Ack with thousands of
	// rejected resources.
	maxRequest = 1 << 20
	maxHeaders = 16 << 10
	// agentStreams bounds the streams of one connection of an agent, which needs one, and on
	// another connection one for each pod of its node that waits to be unused;
	// adminStreams those of people's tools.
	agentStreams      = 64
	adminStreams      = 100
	connectionTimeout = 10 * time.Second
	// maxIdle is how long a connection may stay without a stream, and maxAge, which
	// grpc varies by a tenth, how long at all. Streams end by themselves at that age;
	// ageGrace is for those that do not.
	maxIdle  = time.Minute
	maxAge   = defaultStreamAge
	ageGrace = 10 * time.Minute
	// window is what a peer may send ahead on a stream and on a connection. It is fixed,
	// because grpc finds out a better one by a ping and its answer for every message.
	window = 64 << 10
	// readBuffer is small because subscribers send little.
	readBuffer = 1 << 10
)

// ServerOptions returns what a grpc.Server that serves agents needs: the codec,
// without which pieces cannot be sent, and bounds on what peers may do.
func ServerOptions() []grpc.ServerOption {
	return append(commonOptions(),
		grpc.MaxConcurrentStreams(agentStreams),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: keepaliveTime, Timeout: keepaliveTimeout,
			MaxConnectionIdle: maxIdle, MaxConnectionAge: maxAge, MaxConnectionAgeGrace: ageGrace,
		}))
}

// AdminOptions returns the same for a grpc.Server that people ask.
func AdminOptions() []grpc.ServerOption {
	return append(commonOptions(),
		grpc.MaxConcurrentStreams(adminStreams),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}))
}

func commonOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(codec{encoding.GetCodecV2(proto.Name)}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.ConnectionTimeout(connectionTimeout),
		grpc.ReadBufferSize(readBuffer),
		grpc.StaticStreamWindowSize(window),
		grpc.StaticConnWindowSize(window),
	}
}

// frame is an encoded message, in parts that may be shared with other streams.
type frame struct {
	parts mem.BufferSlice
}

// codec is the proto codec that lets frames pass as they are.
type codec struct {
	encoding.CodecV2
}

// Marshal returns a message's encoding.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(*frame); ok {
		return f.parts, nil
	}
	return c.CodecV2.Marshal(v)
}
