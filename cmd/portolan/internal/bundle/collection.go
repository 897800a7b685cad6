package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/cmd/portolan/internal/ask"
	"github.com/portolan-net/portolan/cmd/portolan/internal/output"
)

// collection is what has been gathered. What cannot be gathered is no reason to gather
// nothing.
type collection struct {
	*options
	files   []file
	trouble []string
	names   *pseudonyms
}

type file struct {
	name    string
	content []byte
}

func (c *collection) add(name string, content []byte) {
	c.files = append(c.files, file{name, content})
}

func (c *collection) fail(name string, err error) {
	c.trouble = append(c.trouble, fmt.Sprintf("%s: %v", name, err))
}

func (c *collection) troubles() []byte { return []byte(strings.Join(append(c.trouble, ""), "\n")) }

// message adds an answer, and learns the names in it.
func (c *collection) message(name string, m proto.Message, err error) {
	if err != nil {
		c.fail(name, err)
		return
	}
	var text bytes.Buffer
	format := output.JSON
	if err := format.Print(&text, m, nil); err != nil {
		c.fail(name, err)
		return
	}
	c.add(name, text.Bytes())
}

// ask adds what one control plane says.
func (c *collection) ask(ctx context.Context, client *ask.Client, directory string) {
	within := func() (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, c.server.Timeout) }
	limited, cancel := within()
	defer cancel()
	nodes, err := client.ListNodes(limited, &introspectionv1.ListNodesRequest{})
	c.message(directory+"nodes.json", nodes, client.Explain(err))
	if err != nil {
		return // Nor does it answer the rest.
	}
	for _, node := range nodes.GetNodes() {
		c.names.learn("node", node.GetNode())
	}
	problems, err := client.ListProblems(limited, &introspectionv1.ListProblemsRequest{})
	c.message(directory+"problems.json", problems, client.Explain(err))
	everything, err := client.GetView(limited, &introspectionv1.GetViewRequest{})
	c.learnServices(everything)
	c.message(directory+"services.json", everything, client.Explain(err))
	for _, node := range c.nodes {
		limited, cancel := within()
		view, err := client.GetView(limited, &introspectionv1.GetViewRequest{Node: node})
		c.learnServices(view)
		c.message(directory+"nodes/"+node+"/told.json", view, client.Explain(err))
		if c.kernel {
			compared, err := client.CompareNode(limited, &introspectionv1.CompareNodeRequest{Node: node})
			c.message(directory+"nodes/"+node+"/kernel.json", compared, client.Explain(err))
		}
		cancel()
	}
}

func (c *collection) learnServices(view *introspectionv1.GetViewResponse) {
	for _, service := range view.GetServices() {
		namespace, name, _ := strings.Cut(service.GetName(), "/")
		c.names.learn("namespace", namespace)
		c.names.learn("service", name)
	}
}

// fetch adds a page.
func (c *collection) fetch(ctx context.Context, address, name string) {
	ctx, cancel := context.WithTimeout(ctx, c.server.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		c.fail("page "+address, err)
		return
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		c.fail("page "+address, err)
		return
	}
	defer response.Body.Close()
	const longest = 64 << 20
	content, err := io.ReadAll(io.LimitReader(response.Body, longest))
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	if err != nil {
		c.fail("page "+address, err)
		return
	}
	c.add(name, append([]byte("# "+address+"\n"), content...))
}

// machine adds what the kernel under the command has.
func (c *collection) machine(ctx context.Context) {
	for name, command := range map[string][]string{
		"local/nft-ipv4.txt": {"nft", "list", "table", "ip", "portolan"},
		"local/nft-ipv6.txt": {"nft", "list", "table", "ip6", "portolan"},
		"local/tables.txt":   {"nft", "list", "tables"},
		"local/kernel.txt":   {"uname", "-srvm"},
	} {
		output, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
		if err != nil {
			c.fail(name, fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, bytes.TrimSpace(output)))
			continue
		}
		c.add(name, output)
	}
	for _, path := range []string{
		"/proc/net/ip_vs", "/proc/net/ip_vs_stats", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding",
		"/proc/sys/net/netfilter/nf_conntrack_max", "/proc/sys/net/netfilter/nf_conntrack_count", "/proc/meminfo", "/proc/modules",
	} {
		content, err := os.ReadFile(path)
		if err != nil {
			c.fail(path, err)
			continue
		}
		c.add("local"+path, content)
	}
}

// writeArchive writes the files with one time, so that the same content is the same file.
func writeArchive(path string, files []file, at time.Time) (err error) {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("--file: %w", err)
	}
	compressed := gzip.NewWriter(out)
	archive := tar.NewWriter(compressed)
	for _, f := range files {
		header := &tar.Header{Name: filepath.ToSlash(filepath.Join("portolan-bundle", f.name)), Mode: 0o644, Size: int64(len(f.content)), ModTime: at}
		if err = errors.Join(err, archive.WriteHeader(header)); err == nil {
			_, err = archive.Write(f.content)
		}
	}
	if err = errors.Join(err, archive.Close(), compressed.Close(), out.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
