package deps

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	block   = regexp.MustCompile("(?ms)^```.*?^```")
)

// anchors are those that a page of Markdown has, as GitHub makes them.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, match := range heading.FindAllStringSubmatch(block.ReplaceAllString(text, ""), -1) {
		words := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(match[1]), "")
		all[strings.ReplaceAll(strings.TrimSpace(words), " ", "-")] = true
	}
	for _, match := range regexp.MustCompile(`(?:id|name)="([^"]+)"`).FindAllStringSubmatch(text, -1) {
		all[match[1]] = true
	}
	return all
}

// TestEveryLinkLeadsSomewhere within the repository; others are not followed.
func TestEveryLinkLeadsSomewhere(t *testing.T) {
	pages := []string{"../../README.md", "../../CONTRIBUTING.md", "../../CHANGELOG.md"}
	for _, pattern := range []string{"../../docs/*.md", "../../docs/*/*.md", "../../deploy/chart/*/README.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatal(pattern, err)
		}
		pages = append(pages, found...)
	}
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	links := 0
	for _, page := range pages {
		text := read(page)
		for _, match := range link.FindAllStringSubmatch(block.ReplaceAllString(text, ""), -1) {
			if strings.Contains(match[1], "://") || strings.HasPrefix(match[1], "mailto:") {
				continue
			}
			links++
			file, anchor, _ := strings.Cut(match[1], "#")
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s leads nowhere", page, match[1])
				continue
			}
			if anchor != "" && strings.HasSuffix(target, ".md") && !anchors(read(target))[anchor] {
				t.Errorf("%s: %s: no such heading", page, match[1])
			}
		}
	}
	if links < 50 {
		t.Errorf("%d links found: is the pattern right?", links)
	}
}

// TestEveryReasonIsExplained: those of Events and of what nodes warn of are headings of their
// page.
func TestEveryReasonIsExplained(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/events.md")
	if err != nil {
		t.Fatal(err)
	}
	explained := anchors(string(page))
	reason := regexp.MustCompile(`(?m)\b(?:Reason:|reason\w+\s*=)\s*"([A-Z][A-Za-z]+)"`)
	const fewest = 8
	found := 0
	for file, text := range sources(t, "agent/internal/*/*.go", "agent/internal/*/*/*.go", "controlplane/internal/events/*.go") {
		for _, match := range reason.FindAllStringSubmatch(text, -1) {
			found++
			if !explained[strings.ToLower(match[1])] {
				t.Errorf("%s: nobody explains %s", file, match[1])
			}
		}
	}
	if found < fewest {
		t.Errorf("found %d reasons, expected at least %d", found, fewest)
	}
}
