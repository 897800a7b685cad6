package e2e_test

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/portolan-net/portolan/test/e2e/internal/product"
	"github.com/portolan-net/portolan/test/e2e/internal/traffic"
)

const (
	// patience bounds one change, of a program that has just been started too.
	patience = 2 * time.Minute
	// warmUps are changes that are not counted, of a program that starts.
	warmUps = 2
)

// party is one of those who follow an API server in turns.
type party struct {
	// name begins the names of its figures.
	name  string
	pause time.Duration
	at    *place
	// start starts its programs; the keys are parts of the names of figures.
	start func() map[string]*product.Process

	latencies []time.Duration
	spent     map[string]time.Duration
	memory    map[string][]int64
}

// turn lets the party follow some changes alone.
func (p *party) turn(b *testing.B, web *shuttle, changes int) {
	b.Helper()
	programs := p.start()
	defer func() {
		for _, program := range programs {
			program.Kill()
		}
	}()
	// Until then the rules are those of an earlier turn.
	within(b, patience, func() error { return web.reached(p.at) })
	for range warmUps {
		p.follow(b, web)
		time.Sleep(max(p.pause, time.Second))
	}
	before := spent(b, programs)
	for range changes {
		p.latencies = append(p.latencies, p.follow(b, web))
		time.Sleep(p.pause)
	}
	p.account(b, programs, before)
}

// follow changes the endpoint and returns how long it took from before the API is
// asked to the first connection that reaches it. Connections are made only meanwhile:
// they take a good part of a core.
func (p *party) follow(b *testing.B, web *shuttle) time.Duration {
	b.Helper()
	stream := traffic.Start(p.at.client, web.address, 100*time.Microsecond)
	defer stream.Stop()
	time.Sleep(20 * time.Millisecond)
	begun := time.Now()
	to := web.move(b)
	return need(stream.Wait(to, begun, patience))(b).Sub(begun)
}

func spent(b *testing.B, programs map[string]*product.Process) map[string]time.Duration {
	b.Helper()
	all := map[string]time.Duration{}
	for name, program := range programs {
		all[name] = need(program.CPU())(b)
	}
	return all
}

func (p *party) account(b *testing.B, programs map[string]*product.Process, before map[string]time.Duration) {
	b.Helper()
	if p.spent == nil {
		p.spent, p.memory = map[string]time.Duration{}, map[string][]int64{}
	}
	for name, now := range spent(b, programs) {
		p.spent[name] += now - before[name]
		p.memory[name] = append(p.memory[name], need(programs[name].Memory())(b))
	}
}

// report reports the figures of all turns.
func (p *party) report(b *testing.B) {
	b.Helper()
	for name, percent := range map[string]int{"-p50-us": 50, "-p99-us": 99} {
		b.ReportMetric(float64(percentile(p.latencies, percent).Microseconds()), p.name+name)
	}
	for program, cpu := range p.spent {
		name := p.name
		if program != "" {
			name += "-" + program
		}
		b.ReportMetric(float64(cpu.Microseconds())/float64(len(p.latencies)), name+"-cpu-us/change")
		b.ReportMetric(float64(middle(p.memory[program]))/1e6, name+"-rss-MB")
	}
}

func middle[T cmp.Ordered](list []T) T {
	return slices.Sorted(slices.Values(list))[len(list)/2]
}
