// Package nodename tells what the Node is called that a program runs on.
package nodename

import (
	"fmt"
	"strings"
)

// Of returns the Node's name: the flag, else the host's name, without blanks
// and in lower case, as the kubelet registers it.
func Of(flag string, hostname func() (string, error)) (string, error) {
	if flag != "" {
		if name := canonical(flag); name != "" {
			return name, nil
		}
		return "", fmt.Errorf("--node %q: expected the name of a Node", flag)
	}
	host, err := hostname()
	if err != nil {
		return "", fmt.Errorf("--node is not given and there is no host name: %w", err)
	}
	if name := canonical(host); name != "" {
		return name, nil
	}
	return "", fmt.Errorf("--node is not given and the host name is %q: expected the name of a Node", host)
}

func canonical(name string) string { return strings.ToLower(strings.TrimSpace(name)) }
