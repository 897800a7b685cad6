package configuration

import (
	"bytes"
	"encoding/json"
	"fmt"

	yamlv3 "go.yaml.in/yaml/v3"

	"github.com/portolan-net/portolan/api/config/v1alpha1"
)

// Encode writes a configuration as a file, with the fields in the order of their types.
func Encode(config v1alpha1.Configuration) ([]byte, error) {
	asJSON, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("encoding a configuration: %w", err)
	}
	// JSON is YAML, and its nodes remember their order.
	var root yamlv3.Node
	if err := yamlv3.Unmarshal(asJSON, &root); err != nil {
		return nil, fmt.Errorf("encoding a configuration: %w", err)
	}
	plain(&root)
	var out bytes.Buffer
	encoder := yamlv3.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&root); err != nil {
		return nil, fmt.Errorf("encoding a configuration: %w", err)
	}
	return out.Bytes(), nil
}

// plain lets the encoder choose how values are written, instead of JSON's braces and
// quotes.
func plain(node *yamlv3.Node) {
	node.Style = 0
	for _, child := range node.Content {
		plain(child)
	}
}
