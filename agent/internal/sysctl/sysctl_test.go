package sysctl

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

const (
	limit       = "proc/sys/net/netfilter/nf_conntrack_max"
	buckets     = "sys/module/nf_conntrack/parameters/hashsize"
	established = "proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established"
	closeWait   = "proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait"
	udp         = "proc/sys/net/netfilter/nf_conntrack_udp_timeout"
	udpStream   = "proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream"
	liberal     = "proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal"
)

var defaults = map[string]string{
	limit: "65536", buckets: "16384", established: "432000", closeWait: "60", udp: "30", udpStream: "120", liberal: "0",
}

// tree makes a root with the kernel's defaults.
func tree(t *testing.T) Tree {
	t.Helper()
	root := t.TempDir()
	for path, value := range defaults {
		file := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Tree{Root: root, CPUs: 4}
}

func TestApply(t *testing.T) {
	seconds := func(n int) *durationpb.Duration { return durationpb.New(time.Duration(n) * time.Second) }
	tests := map[string]struct {
		config *discoveryv1.Conntrack
		want   map[string]string
	}{
		"no configuration changes nothing":               {nil, nil},
		"an empty one changes nothing":                   {&discoveryv1.Conntrack{}, nil},
		"so many for each processor":                     {&discoveryv1.Conntrack{MaxPerCore: 32768}, map[string]string{limit: "131072", buckets: "32768"}},
		"but at least min":                               {&discoveryv1.Conntrack{MaxPerCore: 1, Min: 200000}, map[string]string{limit: "200000", buckets: "50000"}},
		"at most a million":                              {&discoveryv1.Conntrack{MaxPerCore: 1 << 24}, map[string]string{limit: "1048576", buckets: "262144"}},
		"min alone is no limit":                          {&discoveryv1.Conntrack{Min: 200000}, nil},
		"the hash table does not shrink":                 {&discoveryv1.Conntrack{MaxPerCore: 1000}, map[string]string{limit: "4000"}},
		"timeouts that are given, in seconds":            {&discoveryv1.Conntrack{TcpEstablishedTimeout: seconds(86400), TcpCloseWaitTimeout: seconds(3600)}, map[string]string{established: "86400", closeWait: "3600"}},
		"timeouts of UDP":                                {&discoveryv1.Conntrack{UdpTimeout: seconds(10), UdpStreamTimeout: seconds(20)}, map[string]string{udp: "10", udpStream: "20"}},
		"be liberal in which TCP packets are acceptable": {&discoveryv1.Conntrack{TcpBeLiberal: true}, map[string]string{liberal: "1"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			at := tree(t)
			if err := at.Apply(test.config).Err(); err != nil {
				t.Fatal(err)
			}
			want := maps.Clone(defaults)
			maps.Copy(want, test.want)
			for path, value := range want {
				content, err := os.ReadFile(filepath.Join(at.Root, path))
				if err != nil || strings.TrimSpace(string(content)) != value {
					t.Errorf("%s is %q (%v), want %s", path, content, err, value)
				}
			}
		})
	}
}

func TestWhatIsRightIsNotWritten(t *testing.T) {
	at := tree(t)
	file := filepath.Join(at.Root, established)
	if err := os.WriteFile(file, []byte("86400\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	report := at.Apply(&discoveryv1.Conntrack{TcpEstablishedTimeout: durationpb.New(24 * time.Hour)})
	if report.Err() != nil || report.Right != 1 || len(report.Set) != 0 {
		t.Fatalf("report %+v", report)
	}
	if content, _ := os.ReadFile(file); string(content) != "86400\n" {
		t.Errorf("rewritten as %q", content)
	}
}

func TestAFailureNamesFileValueAndWhatItWasAndStopsNothing(t *testing.T) {
	breaks := map[string]struct {
		with func(t *testing.T, file string)
		want string
	}{
		"a file that is missing": {func(t *testing.T, file string) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}, "setting " + established + " to 3600: no such file or directory"},
		"a file that holds no number": {func(t *testing.T, file string) {
			if err := os.WriteFile(file, []byte("soon\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "setting " + established + ` to 3600: it holds "soon": expected a number`},
	}
	for name, broken := range breaks {
		t.Run(name, func(t *testing.T) {
			at := tree(t)
			broken.with(t, filepath.Join(at.Root, established))
			report := at.Apply(&discoveryv1.Conntrack{TcpEstablishedTimeout: durationpb.New(time.Hour), TcpBeLiberal: true})
			if err := report.Err(); err == nil || err.Error() != broken.want || len(report.Failures) != 1 {
				t.Errorf("error %v, want %s", err, broken.want)
			}
			if content, _ := os.ReadFile(filepath.Join(at.Root, liberal)); string(content) != "1" {
				t.Errorf("the setting after the broken one is %q", content)
			}
		})
	}
}

// TestAReadOnlySettingIsNamedWithWhatItIs by a file that not even root can write.
func TestAReadOnlySettingIsNamedWithWhatItIs(t *testing.T) {
	_, _, err := Tree{Root: "/"}.write(setting{path: "proc/sys/kernel/random/entropy_avail", value: 1})
	if err == nil || !strings.Contains(err.Error(), "setting proc/sys/kernel/random/entropy_avail to 1 (it is ") {
		t.Errorf("error %v, want one that names file, value and what it is", err)
	}
}

func TestAReportIsALine(t *testing.T) {
	changes := []Change{{limit, 65536, 131072}, {buckets, 16384, 32768}}
	for want, report := range map[string]Report{
		"set nf_conntrack_max=131072 (was 65536), hashsize=32768 (was 16384)":                               {Set: changes},
		"set nf_conntrack_max=131072 (was 65536), hashsize=32768 (was 16384); 2 more are as they should be": {Set: changes, Right: 2},
		"nothing to set: 4 settings are as they should be":                                                  {Right: 4},
		"no settings are configured":                                                                        {},
	} {
		if got := report.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestWhatIPVSNeeds(t *testing.T) {
	const vs = "proc/sys/net/ipv4/vs/"
	for release, reuse := range map[string]string{"3.10.0": "1", "4.1.0": "0", "5.8.18": "0", "5.9.0-rc1": "1", "6.1.0-56-cloud-amd64": "1"} {
		at := tree(t)
		files := map[string]string{
			vs + "conntrack": "0", vs + "expire_nodest_conn": "0", vs + "expire_quiescent_template": "0", vs + "conn_reuse_mode": "1",
			"proc/sys/net/ipv4/ip_forward": "0", "proc/sys/net/ipv4/conf/all/arp_ignore": "0", "proc/sys/net/ipv4/conf/all/arp_announce": "0",
			"proc/sys/kernel/osrelease": release,
		}
		for path, value := range files {
			file := filepath.Join(at.Root, path)
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(value+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		read := func(path string) string {
			content, err := os.ReadFile(filepath.Join(at.Root, path))
			if err != nil {
				t.Fatal(err)
			}
			return strings.TrimSpace(string(content))
		}
		if err := at.ApplyIPVS(false).Err(); err != nil {
			t.Fatal(err)
		}
		if got := read(vs+"conntrack") + read(vs+"expire_nodest_conn") + read(vs+"expire_quiescent_template") + read("proc/sys/net/ipv4/ip_forward"); got != "1111" {
			t.Errorf("%s: %s", release, got)
		}
		if got := read(vs + "conn_reuse_mode"); got != reuse {
			t.Errorf("%s: conn_reuse_mode %s, want %s", release, got, reuse)
		}
		if got := read("proc/sys/net/ipv4/conf/all/arp_ignore"); got != "0" {
			t.Errorf("arp_ignore %s without strictARP", got)
		}
		_ = at.ApplyIPVS(true)
		if got := read("proc/sys/net/ipv4/conf/all/arp_ignore") + read("proc/sys/net/ipv4/conf/all/arp_announce"); got != "12" {
			t.Errorf("strictARP gives %s", got)
		}
	}
	if err := tree(t).ApplyIPVS(false).Err(); err == nil || !strings.Contains(err.Error(), "vs/conntrack") {
		t.Errorf("without IPVS: %v", err)
	}
}
