package deps

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// picture is an image of a page; that it leads somewhere is for TestEveryLinkLeadsSomewhere.
var picture = regexp.MustCompile(`!\[([^\]]*)\]\(([^)\s]+)\)`)

// TestEveryPictureIsUsedAndDescribed: who cannot see one reads its alternative text.
func TestEveryPictureIsUsedAndDescribed(t *testing.T) {
	used := map[string]bool{}
	for page, text := range sources(t, "README.md", "docs/*.md", "docs/*/*.md") {
		for _, match := range picture.FindAllStringSubmatch(block.ReplaceAllString(text, ""), -1) {
			if strings.TrimSpace(match[1]) == "" {
				t.Errorf("%s: %s has no alternative text", page, match[2])
			}
			used[filepath.Base(match[2])] = true
		}
	}
	for file := range sources(t, "docs/*/*.svg", "docs/explanation/pictures/*.svg") {
		if !used[filepath.Base(file)] {
			t.Errorf("%s: no page shows it", file)
		}
	}
	for file, text := range sources(t, "docs/explanation/pictures/*.svg") {
		if err := described(text); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// described returns an error unless a text is an SVG with a title and a description.
func described(text string) error {
	decoder := xml.NewDecoder(strings.NewReader(text))
	has := map[string]bool{}
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if start, ok := token.(xml.StartElement); ok {
			has[start.Name.Local] = true
		}
	}
	for _, element := range []string{"svg", "title", "desc"} {
		if !has[element] {
			return fmt.Errorf("it has no element %s", element)
		}
	}
	return nil
}

// TestWhatIsNoDescribedPictureIsFound.
func TestWhatIsNoDescribedPictureIsFound(t *testing.T) {
	for text, want := range map[string]string{
		"<svg><title>a</title><desc>b</desc></svg>": "",
		"<svg><title>a</title></svg>":               "it has no element desc",
		"<svg><desc>b</desc></svg>":                 "it has no element title",
		"<svg><title>a</svg>":                       "XML syntax error",
		"":                                          "it has no element svg",
	} {
		if err := described(text); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
