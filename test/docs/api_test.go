package docs

import (
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write the page of reference of the API")

func TestThePageOfTheAPIIsWhatTheProtosSay(t *testing.T) {
	const path = "../../docs/reference/api.md"
	page, err := apiPage(t.Context(), "../../proto")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, page, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(written) != string(page) {
		t.Errorf("%s is not what the protos say: go test . -run API -update in test/docs writes it", path)
	}
}
