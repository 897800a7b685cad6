package diff

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/portolan-net/portolan/cmd/portolan/internal/output"
)

func table(w io.Writer, found []result) error {
	var nodes, differences [][]string
	for _, r := range found {
		nodes = append(nodes, row(r))
		for _, d := range r.response.GetComparison().GetDifferences() {
			differences = append(differences, []string{r.node, d.GetFamily(), d.GetPlace(), d.GetKey(), d.GetWanted(), d.GetFound()})
		}
	}
	if err := output.Rows(w, []string{"NODE", "SENT", "HELD", "KERNEL"}, nodes); err != nil || len(differences) == 0 {
		return err
	}
	fmt.Fprintln(w)
	return output.Rows(w, []string{"NODE", "FAMILY", "PLACE", "KEY", "WANTED", "FOUND"}, differences)
}

func row(r result) []string {
	if r.err != nil {
		return []string{r.node, "", "", r.err.Error()}
	}
	c := r.response.GetComparison()
	held := "as sent"
	if !r.held() {
		held = fmt.Sprintf("%016x, sent was %016x", c.GetDigest(), r.response.GetSentDigest())
	}
	kernel := fmt.Sprintf("as held, %d frontends", c.GetFrontends())
	if n := uint64(len(c.GetDifferences())) + c.GetOmitted(); n > 0 {
		kernel = fmt.Sprintf("%d differences", n)
		if n == 1 {
			kernel = "1 difference"
		}
	}
	if c.GetError() != "" {
		kernel = c.GetError()
	}
	return []string{r.node, fmt.Sprintf("%d/%d", r.response.GetSentRevision(), r.response.GetRevision()), held, kernel}
}

// encode returns what programs are told: an entry for each node.
func encode(found []result) []byte {
	type entry struct {
		Node     string          `json:"node"`
		Differs  bool            `json:"differs"`
		Error    string          `json:"error,omitempty"`
		Compared json.RawMessage `json:"compared,omitempty"`
	}
	report := struct {
		Nodes []entry `json:"nodes"`
	}{[]entry{}}
	for _, r := range found {
		e := entry{Node: r.node, Differs: r.differs(), Error: r.trouble()}
		if r.response != nil {
			e.Compared, _ = output.Encode(r.response) // Our own messages are valid.
		}
		report.Nodes = append(report.Nodes, e)
	}
	text, err := json.Marshal(report)
	if err != nil {
		panic(fmt.Sprintf("a report is no JSON: %v", err))
	}
	return text
}
