package strictyaml

import (
	"regexp"
	"strconv"

	yamlv3 "go.yaml.in/yaml/v3"
)

// LineOf returns the line of a field in a document, or that of its nearest parent
// that is there; 1 is the first.
func LineOf(text []byte, path string) int {
	var root yamlv3.Node
	if yamlv3.Unmarshal(text, &root) != nil || len(root.Content) == 0 {
		return 0
	}
	node := root.Content[0]
	line := node.Line
	for _, step := range pathStep.FindAllStringSubmatch(path, -1) {
		key, next := child(node, step[1], step[2])
		if next == nil {
			break
		}
		node, line = next, key.Line
	}
	return line
}

// pathStep matches a key or an index of a field's path.
var pathStep = regexp.MustCompile(`([^.\[\]]+)|\[(\d+)\]`)

// child returns a node's child by key or index, and the node whose line counts.
// The last of a repeated key is returned: it is the one that is too many.
func child(node *yamlv3.Node, key, index string) (at, value *yamlv3.Node) {
	if node.Kind == yamlv3.AliasNode {
		node = node.Alias
	}
	if node.Kind == yamlv3.SequenceNode {
		i, err := strconv.Atoi(index + key)
		if err == nil && i < len(node.Content) {
			return node.Content[i], node.Content[i]
		}
		return nil, nil
	}
	if node.Kind != yamlv3.MappingNode {
		return nil, nil
	}
	for i := len(node.Content) - 2; i >= 0; i -= 2 {
		if node.Content[i].Value == key {
			return node.Content[i], node.Content[i+1]
		}
	}
	return nil, nil
}
