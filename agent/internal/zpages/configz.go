package zpages

import (
	"encoding/json"
	"net/http"

	"google.golang.org/protobuf/encoding/protojson"
)

// configuration is the body of /configz.
type configuration struct {
	// NodeConfig is what the control plane said; null until it has.
	NodeConfig json.RawMessage   `json:"nodeConfig"`
	Flags      map[string]string `json:"flags"`
}

func (c Config) configz(w http.ResponseWriter, _ *http.Request) {
	body := configuration{NodeConfig: json.RawMessage("null"), Flags: c.Flags}
	if config := c.NodeConfig(); config != nil {
		// Zeros are written too: what is not said is in force all the same.
		encoded, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(config.Proto())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		body.NodeConfig = encoded
	}
	text, err := json.MarshalIndent(body, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(append(text, '\n'))
}
