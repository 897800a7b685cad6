package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/settle"
)

// node returns a Node whose object is told from others of its name by a mark.
func node(name, mark string) string {
	return fmt.Sprintf("---\napiVersion: v1\nkind: Node\nmetadata: {name: %s, labels: {mark: %q}}\n", name, mark)
}

const broken = "---\nkind: [\n"

// force applies changes as a writer would.
type force struct {
	marks    map[string]string
	problems map[string][]model.Problem
}

func (f force) apply(c changes) {
	for i, object := range c.objects {
		if object == nil {
			delete(f.marks, i.name)
			continue
		}
		f.marks[i.name] = object.GetLabels()["mark"]
	}
	for file, problems := range c.problems {
		if f.problems[file] = problems; len(problems) == 0 {
			delete(f.problems, file)
		}
	}
}

func newForce() force { return force{map[string]string{}, map[string][]model.Problem{}} }

func (c *catalog) write(name, text string) changes {
	return c.replace(name, read(name, []byte(text), c.files[name]))
}

func TestTheFirstFileByNameCounts(t *testing.T) {
	c, f := newCatalog(), newForce()
	f.apply(c.write("b.yaml", node("n1", "b")))
	f.apply(c.write("a.yaml", node("n1", "a")))
	if f.marks["n1"] != "a" || len(f.problems["a.yaml"]) != 0 {
		t.Fatalf("in force %v, problems %v", f.marks, f.problems)
	}
	if got := fmt.Sprint(f.problems["b.yaml"]); !strings.Contains(got, "a.yaml") || !strings.Contains(got, "Node n1") {
		t.Errorf("problem %q", got)
	}
	f.apply(c.write("b.yaml", node("n1", "b2")))
	if f.marks["n1"] != "a" {
		t.Errorf("a change of the second file is in force: %v", f.marks)
	}
	f.apply(c.replace("a.yaml", nil))
	if f.marks["n1"] != "b2" || len(f.problems) != 0 {
		t.Errorf("in force %v, problems %v when the first file is gone", f.marks, f.problems)
	}
	f.apply(c.replace("b.yaml", nil))
	if len(f.marks) != 0 || len(c.definitions) != 0 || len(c.files) != 0 {
		t.Errorf("in force %v, known %v", f.marks, c.definitions)
	}
}

func TestTheFirstDocumentOfAFileCounts(t *testing.T) {
	c, f := newCatalog(), newForce()
	f.apply(c.write("a.yaml", node("n1", "1")+node("n1", "2")))
	if f.marks["n1"] != "1" || len(f.problems["a.yaml"]) != 1 {
		t.Errorf("in force %v, problems %v", f.marks, f.problems)
	}
}

func TestABrokenFileLosesNothing(t *testing.T) {
	c, f := newCatalog(), newForce()
	f.apply(c.write("a.yaml", node("n1", "old")+node("n2", "old")))
	f.apply(c.write("a.yaml", node("n1", "new")+broken))
	if f.marks["n1"] != "new" || f.marks["n2"] != "old" || len(f.problems["a.yaml"]) != 1 {
		t.Fatalf("in force %v, problems %v", f.marks, f.problems)
	}
	f.apply(c.write("a.yaml", broken))
	if len(f.marks) != 2 {
		t.Fatalf("in force %v", f.marks)
	}
	f.apply(c.write("a.yaml", node("n1", "new")))
	if len(f.marks) != 1 || len(f.problems) != 0 {
		t.Errorf("in force %v, problems %v when the file is well", f.marks, f.problems)
	}
}

func TestOnlyChangedObjectsAreReported(t *testing.T) {
	c := newCatalog()
	c.write("a.yaml", node("n1", "1")+node("n2", "1"))
	changed := c.write("a.yaml", node("n1", "1")+node("n2", "2"))
	if len(changed.objects) != 1 {
		t.Errorf("changed %v", changed.objects)
	}
}

// TestAnyOrderOfFilesLeadsToTheSameObjects: what is in force follows from what
// the files say now.
func TestAnyOrderOfFilesLeadsToTheSameObjects(t *testing.T) {
	files := []string{"a.yaml", "b.yaml", "c/d.yaml"}
	rapid.Check(t, func(t *rapid.T) {
		c, f := newCatalog(), newForce()
		texts := map[string]map[string]string{}
		for step := range rapid.IntRange(1, 30).Draw(t, "steps") {
			file := rapid.SampledFrom(files).Draw(t, "file")
			if rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
				f.apply(c.replace(file, nil))
				delete(texts, file)
				continue
			}
			said, text := map[string]string{}, ""
			for _, n := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"n1", "n2", "n3"}), 0, 3, rapid.ID).Draw(t, "nodes") {
				said[n] = fmt.Sprint(file, rapid.IntRange(0, step).Draw(t, "mark"))
				text += node(n, said[n])
			}
			if rapid.IntRange(0, 3).Draw(t, "break") == 0 {
				text += broken
				for n, mark := range texts[file] {
					if _, again := said[n]; !again {
						said[n] = mark
					}
				}
			}
			f.apply(c.write(file, text))
			texts[file] = said
		}
		want := map[string]string{}
		for _, file := range slices.Backward(files) {
			maps.Copy(want, texts[file])
		}
		if !maps.Equal(f.marks, want) {
			t.Fatalf("in force %v, want %v", f.marks, want)
		}
	})
}

func TestSettle(t *testing.T) {
	object := map[id]metav1.Object{}
	whole := &contents{objects: object}
	torn := &contents{objects: object, broken: true}
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	for name, tc := range map[string]struct {
		reading reading
		want    time.Duration // when it counts, if it stays the same
	}{
		"a complete file counts at once":            {newReading([]byte("a: b\n"), whole, false), 0},
		"JSON needs no newline":                     {newReading([]byte("{}"), whole, false), 0},
		"an empty file that never had objects":      {newReading([]byte{}, whole, false), 0},
		"YAML without a newline waits for its rest": {newReading([]byte("a: b"), whole, false), ms(2)},
		"missing objects wait for their return":     {newReading([]byte("a: b\n"), whole, true), ms(20)},
		"a removed file waits for its return":       {newReading(nil, nil, true), ms(20)},
		"a broken file waits longest":               {newReading([]byte("a: [\n"), torn, true), ms(200)},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Unix(1000, 0)
			now, tries := began, 0
			for s := new(settle.File); !s.Settle(tc.reading.sum, tc.reading.patience, now); now = s.Due() {
				if tries++; !s.Due().After(now) || tries > 10 {
					t.Fatalf("try %d at %v is due at %v", tries, now, s.Due())
				}
			}
			if now.Sub(began) != tc.want {
				t.Errorf("counts after %v, want %v", now.Sub(began), tc.want)
			}
		})
	}
}
