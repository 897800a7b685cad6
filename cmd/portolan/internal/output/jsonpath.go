package output

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"k8s.io/client-go/util/jsonpath"
)

// jsonPath begins the format that is a template, as kubectl has it.
const jsonPath = "jsonpath="

// template returns the template of a format, if it is one.
func (f *Format) template() (string, bool) { return strings.CutPrefix(string(*f), jsonPath) }

// parseTemplate reads a template; one without braces is a path.
func parseTemplate(text string) (*jsonpath.JSONPath, error) {
	if !strings.Contains(text, "{") {
		text = "{." + strings.TrimPrefix(text, ".") + "}"
	}
	path := jsonpath.New("output").AllowMissingKeys(true)
	if err := path.Parse(text); err != nil {
		return nil, fmt.Errorf("expected a template such as jsonpath='{.nodes[*].node}': %w", err)
	}
	return path, nil
}

// execute writes what a template makes of JSON.
func execute(w io.Writer, template string, text []byte) error {
	path, err := parseTemplate(template)
	if err != nil {
		return err
	}
	var content any
	if err := json.Unmarshal(text, &content); err != nil {
		return fmt.Errorf("as JSON: %w", err)
	}
	if err := path.Execute(w, content); err != nil {
		return fmt.Errorf("%s%s: %w", jsonPath, template, err)
	}
	_, err = fmt.Fprintln(w)
	return err
}
