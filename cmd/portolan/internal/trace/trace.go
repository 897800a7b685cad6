// Package trace is `portolan trace`: what this node's kernel does with a real packet.
package trace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/portolan-net/portolan/agent"
)

type options struct {
	live        bool
	from, to    string
	packets     int
	patience    time.Duration
	established bool
	every       bool
}

// Command returns the command.
func Command() *cobra.Command {
	var o options
	command := &cobra.Command{
		Use:   "trace --live --to ADDRESS[:PORT[/PROTOCOL]]",
		Short: "Follow a real packet through this node's kernel",
		Long: `Follow a real packet through the nftables chains of the node that the command runs on,
ours and others': what each does with it, and how its addresses change. The kernel traces
the first packet of each connection that --from and --to are about (nftrace), through a
table of its own, portolan-trace, which is there meanwhile. It needs CAP_NET_ADMIN, and no
agent. What IPVS does in mode ipvs is not traced: addresses change between two chains.

Without a packet there is nothing to follow: portolan explain tells what would become of
one, on any node.`,
		Example: `  portolan trace --live --to 10.96.0.10:80
  portolan trace --live --from 203.0.113.7 --to 192.0.2.1:30080/tcp -n 3
  portolan trace --live --to '[fd00:96::10]:53/udp' --for 5m`,
		Args: cobra.NoArgs,
		RunE: o.run,
	}
	flags := command.Flags()
	flags.BoolVar(&o.live, "live", false, "follow real packets (required)")
	flags.StringVar(&o.from, "from", "", "the source's address")
	flags.StringVar(&o.to, "to", "", "the destination as it comes in: ADDRESS, ADDRESS:PORT, or ADDRESS:PORT/tcp, /udp or /sctp")
	flags.IntVarP(&o.packets, "packets", "n", 1, "how many packets to follow")
	flags.DurationVar(&o.patience, "for", 30*time.Second, "how long to wait for them")
	flags.BoolVar(&o.established, "established", false, "also packets of connections that have been there before")
	flags.BoolVar(&o.every, "all", false, "also rules after which the next one is looked at")
	return command
}

var errNotLive = errors.New("expected --live: portolan explain tells what would become of a connection")

func (o *options) run(command *cobra.Command, _ []string) error {
	if !o.live {
		return errNotLive
	}
	filter, err := o.filter()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(command.Context(), o.patience)
	defer cancel()
	p := &printer{w: command.OutOrStdout(), every: o.every, most: o.packets, numbers: map[uint32]int{}, enough: cancel, name: interfaceName}
	command.PrintErrf("waiting for %s, for %s\n", plural(o.packets), o.patience)
	if err := agent.Trace(ctx, filter, p.step); err != nil {
		return err
	}
	if len(p.numbers) == 0 {
		return fmt.Errorf("no packet came within %s: expected a new connection from and to what is asked for (--established has others traced too)", o.patience)
	}
	return nil
}

func plural(packets int) string {
	if packets == 1 {
		return "a packet"
	}
	return fmt.Sprintf("%d packets", packets)
}

// filter reads what is to be traced.
func (o *options) filter() (agent.TraceFilter, error) {
	filter := agent.TraceFilter{Established: o.established}
	if o.from == "" && o.to == "" {
		return filter, errors.New("expected --from or --to")
	}
	if o.packets < 1 {
		return filter, fmt.Errorf("--packets %d: expected at least 1", o.packets)
	}
	if o.from != "" {
		from, err := netip.ParseAddr(o.from)
		if err != nil {
			return filter, fmt.Errorf("--from %q: expected an address", o.from)
		}
		filter.From = from.Unmap()
	}
	if err := parseTo(o.to, &filter); err != nil {
		return filter, err
	}
	if filter.From.IsValid() && filter.To.IsValid() && filter.From.Is6() != filter.To.Addr().Is6() {
		return filter, fmt.Errorf("--from %s, --to %s: expected addresses of one family", o.from, o.to)
	}
	return filter, nil
}

func parseTo(text string, filter *agent.TraceFilter) error {
	if text == "" {
		return nil
	}
	address, protocol, isSaid := strings.Cut(text, "/")
	switch {
	case !isSaid:
	case protocol == "tcp":
		filter.Protocol = agent.TCP
	case protocol == "udp":
		filter.Protocol = agent.UDP
	case protocol == "sctp":
		filter.Protocol = agent.SCTP
	default:
		return fmt.Errorf("--to %q: expected protocol tcp, udp or sctp", text)
	}
	to, err := netip.ParseAddrPort(address)
	if addr, onlyAddr := netip.ParseAddr(address); err != nil && onlyAddr == nil {
		to, err = netip.AddrPortFrom(addr, 0), nil
	}
	if err != nil {
		return fmt.Errorf("--to %q: expected ADDRESS:PORT, such as portolan get services shows them", text)
	}
	filter.To = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	return nil
}

// printer prints steps as they come; those of several packets may alternate.
type printer struct {
	w     io.Writer
	every bool
	most  int
	// numbers counts packets, by the kernel's number for each.
	numbers map[uint32]int
	// enough ends the trace when another packet comes than were asked for.
	enough func()
	name   func(uint32) string
	seen   map[uint32]string
}

func (p *printer) step(s agent.TraceStep) {
	if s.Lost {
		fmt.Fprintln(p.w, "    steps were lost: more came than could be read")
		return
	}
	n, known := p.numbers[s.Packet]
	if !known {
		if len(p.numbers) >= p.most {
			p.enough()
			return
		}
		n = len(p.numbers) + 1
		p.numbers[s.Packet] = n
		if n == p.most {
			// The last packet's own steps come at once; others may never come.
			time.AfterFunc(time.Second, p.enough)
		}
	}
	p.headers(n, s)
	if s.Verdict == "continue" && !p.every {
		return
	}
	line := fmt.Sprintf("#%d    %-28s %-24s %s", n, s.Table+" "+s.Chain, s.Verdict, s.Meaning)
	fmt.Fprintln(p.w, strings.TrimRight(line, " "))
}

// headers prints what the packet looks like, if that has changed.
func (p *printer) headers(n int, s agent.TraceStep) {
	if !s.Destination.IsValid() {
		return
	}
	line := fmt.Sprintf("#%d  %s %s > %s", n, s.Protocol, s.Source, s.Destination)
	if s.In != 0 {
		line += " in by " + p.name(s.In)
	}
	if s.Out != 0 {
		line += " out by " + p.name(s.Out)
	}
	if p.seen == nil {
		p.seen = map[uint32]string{}
	}
	if p.seen[s.Packet] != line {
		p.seen[s.Packet] = line
		fmt.Fprintln(p.w, line)
	}
}

func interfaceName(index uint32) string {
	link, err := net.InterfaceByIndex(int(index))
	if err != nil {
		return fmt.Sprintf("interface %d", index)
	}
	return link.Name
}
