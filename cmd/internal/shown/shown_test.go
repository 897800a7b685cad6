package shown

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

const page = "Run `portolan get nodes`, or `portolan get services|endpoints [--node N]`, not `portolan`.\n" + `
    portolan get nodes -o 'jsonpath={.a b}'    # a comment
    kubectl -n x exec deployment/y -- \
      /portolan get nodes --server unix:/x | head
    portolan get nodes && echo well
    NODE  portolan is not run here
    │ portolan get │
    portolan explain ...
` + "```sh\nkubectl portolan get nodes 2>log &\n```\nportolan get nodes in a sentence\n"

func TestLinesAreFound(t *testing.T) {
	var got []string
	for _, line := range Lines(page, "portolan") {
		text := strings.Join(line.Words, "_")
		if line.Mentioned {
			text += " mentioned"
		}
		got = append(got, text)
	}
	want := []string{
		"get_nodes mentioned", "get_services_--node_N mentioned",
		"get_nodes_-o_jsonpath={.a b}", "get_nodes_--server_unix:/x", "get_nodes", "get_nodes",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatAProgramDoesNotTakeIsAnError(t *testing.T) {
	tree := func() *cobra.Command {
		nodes := &cobra.Command{Use: "nodes", Args: cobra.NoArgs, Run: func(*cobra.Command, []string) {}}
		nodes.Flags().Int("limit", 0, "")
		view := &cobra.Command{Use: "view", Args: cobra.ExactArgs(1), Run: func(*cobra.Command, []string) {}}
		view.Flags().String("node", "", "")
		_ = view.MarkFlagRequired("node")
		get := &cobra.Command{Use: "get"}
		get.AddCommand(nodes, view)
		root := &cobra.Command{Use: "p"}
		root.AddCommand(get)
		return root
	}
	for text, want := range map[string]string{
		"get nodes --limit 3":    "",
		"get nodes --help":       "",
		"get view a --node b":    "",
		"gte nodes":              `unknown command "gte"`,
		"get noodles":            `there is no command "noodles"`,
		"get nodes --limits 3":   "unknown flag: --limits",
		"get nodes --limit many": "invalid argument",
		"get nodes a":            "unknown command",
		"get view a":             `"node" not set`,
		"get view --node b":      "accepts 1 arg(s)",
	} {
		err := Check(tree(), Line{Words: strings.Fields(text)})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if err := Check(tree(), Line{Words: []string{"get", "view"}, Mentioned: true}); err != nil {
		t.Errorf("what is mentioned may leave arguments out: %v", err)
	}
}
