package output

import (
	"io"
	"os"

	"golang.org/x/term"
)

// IsTerminal tells whether what is written is seen on a terminal.
func IsTerminal(w io.Writer) bool {
	file, isFile := w.(*os.File)
	return isFile && term.IsTerminal(int(file.Fd()))
}

// Coloured tells whether there may be colours: on terminals, unless NO_COLOR is set
// (https://no-color.org).
func Coloured(w io.Writer) bool {
	return IsTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
