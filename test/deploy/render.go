package deploy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	yamldecoder "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Chart is the chart's directory, as seen from the module's.
const Chart = "../../deploy/chart/portolan"

// Values are a chart's values.
type Values map[string]any

// Parse returns the values of a YAML text.
func Parse(text string) (Values, error) {
	values := Values{}
	return values, yaml.Unmarshal([]byte(text), &values)
}

// Render returns the chart's documents in the order of their files. Nothing is looked up in a
// cluster.
func Render(values Values, namespace string) ([][]byte, error) {
	return render(values, namespace, engine.Render)
}

// RenderIn is Render in a cluster that has something already.
func RenderIn(cluster engine.ClientProvider, values Values, namespace string) ([][]byte, error) {
	return render(values, namespace, func(chart chart.Charter, values common.Values) (map[string]string, error) {
		return engine.RenderWithClientProvider(chart, values, cluster)
	})
}

func render(values Values, namespace string, with func(chart.Charter, common.Values) (map[string]string, error)) ([][]byte, error) {
	loaded, err := loader.LoadDir(Chart)
	if err != nil {
		return nil, fmt.Errorf("loading the chart: %w", err)
	}
	options := common.ReleaseOptions{Name: "portolan", Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := util.ToRenderValues(loaded, values, options, common.DefaultCapabilities)
	if err != nil {
		return nil, fmt.Errorf("values: %w", err)
	}
	rendered, err := with(loaded, all)
	if err != nil {
		return nil, fmt.Errorf("rendering: %w", err)
	}
	var documents [][]byte
	for _, name := range slices.Sorted(maps.Keys(rendered)) {
		if strings.HasSuffix(name, "NOTES.txt") {
			continue
		}
		list, err := split(rendered[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		documents = append(documents, list...)
	}
	return documents, nil
}

// split returns the documents of a YAML text that are not empty.
func split(text string) ([][]byte, error) {
	var list [][]byte
	reader := yamldecoder.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		var content map[string]any
		if err := yaml.Unmarshal(document, &content); err != nil {
			return nil, fmt.Errorf("%w in\n%s", err, document)
		}
		if len(content) > 0 {
			list = append(list, bytes.TrimSpace(document))
		}
	}
}
