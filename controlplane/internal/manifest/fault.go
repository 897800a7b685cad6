package manifest

import (
	"strconv"

	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// maxFaults bounds what is listed of one file.
const maxFaults = 10

// problem returns the fault for people; before is the number of lines before the
// document.
func (f fault) problem(file string, before int) model.Problem {
	message := "line " + strconv.Itoa(before+max(1, f.line)) + ": "
	if f.object != (id{}) {
		message += f.object.String() + ": "
	}
	return model.Problem{
		Object: "file " + file, Field: f.field, Value: f.value,
		Message: message + f.message + "; the last good state of what the file defines is kept",
	}
}
