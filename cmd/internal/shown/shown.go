// Package shown finds the command lines that pages of documentation show, for the tests of the
// programs that must take them.
package shown

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Line is a command line of a page, without the program's name.
type Line struct {
	// Number is the line of the page.
	Number int
	Words  []string
	// Mentioned is set for one in a sentence, which may leave arguments out.
	Mentioned bool
}

var (
	span = regexp.MustCompile("`([^`\n]+)`")
	// picture has what pictures of text are drawn with.
	picture = regexp.MustCompile(`[│─┌└├▶◀▼═]`)
	// choice is what a sentence writes of alternatives: "services|endpoints".
	choice = regexp.MustCompile(`^([^|]+)\|`)
	// shells are words that the shell takes for itself.
	shells = regexp.MustCompile(`^([|&;<>#]|2>)`)
)

// Lines returns the command lines of a program in a page of Markdown: those of its blocks, and
// the code in sentences that begins with the program's name.
func Lines(page, program string) []Line {
	var list []Line
	fenced := false
	lines := strings.Split(page, "\n")
	for i := 0; i < len(lines); i++ {
		text, number := lines[i], i+1
		if strings.HasPrefix(text, "```") {
			fenced = !fenced
			continue
		}
		if !fenced && !strings.HasPrefix(text, "    ") {
			list = append(list, mentions(text, program, number)...)
			continue
		}
		for strings.HasSuffix(text, `\`) && i+1 < len(lines) {
			i++
			text = strings.TrimSuffix(text, `\`) + " " + strings.TrimSpace(lines[i])
		}
		if picture.MatchString(text) {
			continue
		}
		if words := after(split(text), program); words != nil {
			list = append(list, Line{Number: number, Words: words})
		}
		list = append(list, mentions(text, program, number)...)
	}
	return list
}

// mentions returns the code of a sentence that begins with the program's name.
func mentions(text, program string, number int) []Line {
	var list []Line
	for _, match := range span.FindAllStringSubmatch(text, -1) {
		words := split(strings.NewReplacer("[", "", "]", "").Replace(match[1]))
		if len(words) < 2 || words[0] != program {
			continue
		}
		for i, word := range words {
			if first := choice.FindStringSubmatch(word); first != nil {
				words[i] = first[1]
			}
		}
		if words = after(words, program); words != nil {
			list = append(list, Line{Number: number, Words: words, Mentioned: true})
		}
	}
	return list
}

// after returns the words of a line after the program's name, up to what the shell takes for
// itself. It is nil if the line does not run the program.
func after(words []string, program string) []string {
	at := slices.IndexFunc(words, func(word string) bool { return word == program || word == "/"+program })
	if at < 0 {
		return nil
	}
	if at > 0 && !runs(words[at-1]) {
		return nil
	}
	words = words[at+1:]
	if end := slices.IndexFunc(words, shells.MatchString); end >= 0 {
		words = words[:end]
	}
	// An example that is cut off, or a message of the program's.
	if slices.Contains(words, "...") || slices.ContainsFunc(words, func(word string) bool { return strings.HasSuffix(word, ":") }) {
		return nil
	}
	return words
}

// runs tells whether a program may follow a word.
func runs(before string) bool {
	return slices.Contains([]string{"--", "kubectl", "&&", "||", "|"}, before)
}

// split splits a line into words as a shell does, but for what it would replace.
func split(line string) []string {
	var words []string
	var word strings.Builder
	quote, within := rune(0), false
	end := func() {
		if within {
			words = append(words, word.String())
		}
		word.Reset()
		within = false
	}
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, within = r, true
		case r == ' ' || r == '\t':
			end()
		default:
			within = true
			word.WriteRune(r)
		}
	}
	end()
	return words
}

// Check returns an error unless a command tree, which must be a new one, takes the line.
func Check(tree *cobra.Command, line Line) error {
	command, rest, err := tree.Find(line.Words)
	if err != nil {
		return err
	}
	command.InitDefaultHelpFlag()
	required := (*pflag.ValueRequiredError)(nil)
	if err := command.ParseFlags(rest); err != nil && !errors.Is(err, pflag.ErrHelp) && (!line.Mentioned || !errors.As(err, &required)) {
		return fmt.Errorf("%s: %w", command.CommandPath(), err)
	}
	arguments := command.Flags().Args()
	if command.HasSubCommands() && !command.Runnable() && len(arguments) > 0 {
		return fmt.Errorf("%s: there is no command %q", command.CommandPath(), arguments[0])
	}
	if help, _ := command.Flags().GetBool("help"); line.Mentioned || help {
		return nil
	}
	if err := command.ValidateArgs(arguments); err != nil {
		return fmt.Errorf("%s: %w", command.CommandPath(), err)
	}
	if err := command.ValidateRequiredFlags(); err != nil {
		return fmt.Errorf("%s: %w", command.CommandPath(), err)
	}
	return nil
}
