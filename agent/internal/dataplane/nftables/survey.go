package nftables

import (
	"fmt"
	"strings"

	"github.com/google/nftables"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
)

// Layout is the version of the layout that this program makes.
const Layout = layoutVersion

// The names of our tables, for who looks for them.
const (
	TableName  = tableName
	AnchorName = anchorName
)

// Table is a table that the kernel has.
type Table struct {
	Family dataplane.Family
	Name   string
	Chains []string
	// Layout is the version of our own table, zero of others' and of what is not whole.
	Layout int
}

// Survey returns the tables of both families, whoever has made them.
func Survey() ([]Table, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("opening a netlink socket to nf_tables: %w", explain(err))
	}
	var list []Table
	for _, f := range []*family{ipv4, ipv6} {
		tables, err := conn.ListTablesOfFamily(f.number)
		if err != nil {
			return nil, fmt.Errorf("listing %s tables: %w", f, explainListing(err))
		}
		chains, err := conn.ListChainsOfTableFamily(f.number)
		if err != nil {
			return nil, fmt.Errorf("listing %s chains: %w", f, explain(err))
		}
		for _, t := range tables {
			found := Table{Family: f.name, Name: t.Name}
			for _, c := range chains {
				if c.Table.Name == t.Name {
					found.Chains = append(found.Chains, c.Name)
				}
			}
			if t.Name == tableName {
				found.Layout = layoutOf(conn, t)
			}
			list = append(list, found)
		}
	}
	return list, nil
}

// layoutOf reads the version that the comment of a set says.
func layoutOf(conn *nftables.Conn, table *nftables.Table) (version int) {
	set, err := conn.GetSetByName(table, clusterIPs)
	if err != nil {
		return 0
	}
	if _, text, found := strings.Cut(set.Comment, "layout "); found {
		_, _ = fmt.Sscan(text, &version)
	}
	return version
}
