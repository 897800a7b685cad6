package manifest

import (
	"bytes"
	"encoding/json"
	"io"
)

// document is one document of a file.
type document struct {
	// line is the number of lines before the document.
	line int
	text []byte
}

// split cuts a file into its documents: a stream of JSON values, or YAML
// documents separated by lines of three dashes.
func split(data []byte) []document {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if trimmed := bytes.TrimSpace(data); len(trimmed) > 0 && trimmed[0] == '{' {
		if documents, ok := splitJSON(data); ok {
			return documents
		}
	}
	return splitYAML(data)
}

func splitJSON(data []byte) ([]document, bool) {
	var documents []document
	for decoder := json.NewDecoder(bytes.NewReader(data)); ; {
		var text json.RawMessage
		err := decoder.Decode(&text)
		if err == io.EOF {
			return documents, true
		}
		if err != nil {
			return nil, false
		}
		start := decoder.InputOffset() - int64(len(text))
		documents = append(documents, document{line: bytes.Count(data[:start], []byte("\n")), text: text})
	}
}

func splitYAML(data []byte) []document {
	var documents []document
	start, startLine, line := 0, 0, 0
	for at := 0; at < len(data); line++ {
		end := len(data)
		if n := bytes.IndexByte(data[at:], '\n'); n >= 0 {
			end = at + n + 1
		}
		if isSeparator(data[at:end]) {
			documents = append(documents, document{line: startLine, text: data[start:at]})
			// What follows the dashes on their line belongs to the document.
			start, startLine = at+len("---"), line
		}
		at = end
	}
	return append(documents, document{line: startLine, text: data[start:]})
}

func isSeparator(line []byte) bool {
	rest, found := bytes.CutPrefix(line, []byte("---"))
	return found && (len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0)
}
