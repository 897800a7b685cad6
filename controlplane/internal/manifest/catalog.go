package manifest

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// contents is what a file says.
type contents struct {
	objects map[id]metav1.Object
	// order has the ids as they appear; repeated ones follow in again.
	order, again []id
	problems     []model.Problem
	ignored      []id
	// broken is set if a part of the file could not be read.
	broken bool
	// documents are kept so that those that did not change are not read again.
	documents map[[sha256.Size]byte]*decoded
}

// read reads a file's documents, taking those it already knows from before.
func read(name string, data []byte, before *contents) *contents {
	c := &contents{objects: map[id]metav1.Object{}, documents: map[[sha256.Size]byte]*decoded{}}
	for _, document := range split(data) {
		sum := sha256.Sum256(document.text)
		var d *decoded
		if before != nil {
			d = before.documents[sum]
		}
		if d == nil {
			d = decode(document.text)
			c.ignored = append(c.ignored, d.ignored...)
		}
		c.documents[sum] = d
		c.add(name, document.line, d)
	}
	if n := len(c.problems); n > maxFaults {
		c.problems = append(c.problems[:maxFaults:maxFaults], more(name, n-maxFaults))
	}
	return c
}

func (c *contents) add(name string, before int, d *decoded) {
	for _, f := range d.faults {
		c.broken = true
		c.problems = append(c.problems, f.problem(name, before))
	}
	for _, o := range d.objects {
		if _, repeated := c.objects[o.id]; repeated {
			c.again = append(c.again, o.id)
			continue
		}
		c.objects[o.id] = o.value
		c.order = append(c.order, o.id)
	}
}

// unreadable returns the contents of a file that is there but cannot be read.
func unreadable(name string, err error) *contents {
	return &contents{
		broken: true, objects: map[id]metav1.Object{},
		problems: []model.Problem{{Object: "file " + name, Message: fmt.Sprintf("cannot be read: %v; the last good state of what it defines is kept", err)}},
	}
}

func more(name string, n int) model.Problem {
	return model.Problem{Object: "file " + name, Message: fmt.Sprintf("and %d more", n)}
}

// catalog knows what all files say and which of them counts for each object.
type catalog struct {
	files map[string]*contents
	// definitions has the files that define an object, ordered by name: the first
	// one counts.
	definitions map[id][]string
}

func newCatalog() *catalog {
	return &catalog{files: map[string]*contents{}, definitions: map[id][]string{}}
}

// changes are what a file's new contents mean to everybody else.
type changes struct {
	// objects have their new value, or nil if they are gone.
	objects map[id]metav1.Object
	// problems are of the files whose problems may have changed.
	problems map[string][]model.Problem
}

// unlikely tells whether a file's new contents, nil for a removed file, look like
// one moment of a larger change: objects are missing that it had, or it now has
// objects that another file defines, as when a file is being renamed.
func (c *catalog) unlikely(name string, next *contents) bool {
	var before, after map[id]metav1.Object
	if file := c.files[name]; file != nil {
		before = file.objects
	}
	if next != nil {
		after = next.objects
	}
	for i := range before {
		if after[i] == nil {
			return true
		}
	}
	for i := range after {
		if before[i] == nil && len(c.definitions[i]) > 0 {
			return true
		}
	}
	return false
}

// replace records a file's new contents, nil for a removed file.
func (c *catalog) replace(name string, next *contents) changes {
	before := c.files[name]
	if before == nil {
		before = &contents{}
	}
	out := changes{objects: map[id]metav1.Object{}, problems: map[string][]model.Problem{}}
	stale := map[string]struct{}{name: {}}
	if next == nil {
		delete(c.files, name)
		next = &contents{}
	} else {
		next.keep(before)
		c.files[name] = next
	}
	for i, object := range next.objects {
		if before.objects[i] != object {
			c.define(i, name, before, &out, stale)
		}
	}
	for i := range before.objects {
		if _, still := next.objects[i]; !still {
			c.undefine(i, name, &out, stale)
		}
	}
	for file := range stale {
		out.problems[file] = c.problems(file)
	}
	return out
}

// keep takes over what a broken file said before and does not say otherwise.
func (c *contents) keep(before *contents) {
	if !c.broken {
		return
	}
	for _, i := range before.order {
		if _, said := c.objects[i]; !said {
			c.objects[i] = before.objects[i]
			c.order = append(c.order, i)
		}
	}
}

// define records that a file has a new definition of an object.
func (c *catalog) define(i id, name string, before *contents, out *changes, stale map[string]struct{}) {
	list := c.definitions[i]
	if at, found := slices.BinarySearch(list, name); !found {
		list = slices.Insert(list, at, name)
		c.definitions[i] = list
	}
	if list[0] == name {
		out.objects[i] = c.files[name].objects[i]
	}
	if _, had := before.objects[i]; !had && len(list) > 1 {
		c.restate(list, stale)
	}
}

// undefine records that a file does not define an object any more. The next file
// that does now counts.
func (c *catalog) undefine(i id, name string, out *changes, stale map[string]struct{}) {
	list := c.definitions[i]
	at, _ := slices.BinarySearch(list, name)
	list = slices.Delete(list, at, at+1)
	if len(list) == 0 {
		delete(c.definitions, i)
		out.objects[i] = nil
		return
	}
	c.definitions[i] = list
	if at == 0 {
		out.objects[i] = c.files[list[0]].objects[i]
	}
	c.restate(list, stale)
}

// restate marks files whose problems have to be worked out again.
func (c *catalog) restate(files []string, stale map[string]struct{}) {
	for _, file := range files {
		stale[file] = struct{}{}
	}
}

// problems returns what is wrong with a file: what cannot be read and what does
// not count.
func (c *catalog) problems(name string) []model.Problem {
	file := c.files[name]
	if file == nil {
		return nil
	}
	problems := slices.Clip(file.problems)
	extra := 0
	note := func(i id, first string) {
		if len(problems) >= len(file.problems)+maxFaults {
			extra++
			return
		}
		problems = append(problems, model.Problem{
			Object: "file " + name, Field: i.String(),
			Message: "expected each object once, but " + first + " defines it, which comes first; this definition is ignored",
		})
	}
	for _, i := range file.again {
		note(i, "an earlier document of the file")
	}
	for _, i := range file.order {
		if first := c.definitions[i][0]; first != name {
			note(i, "file "+first)
		}
	}
	if extra > 0 {
		problems = append(problems, more(name, extra))
	}
	return problems
}

// names returns the names of all files.
func (c *catalog) names() []string { return slices.Sorted(maps.Keys(c.files)) }
