package controlplane

import (
	"errors"

	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/configfile"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// configure reads the nodes' configuration and makes what follows its file.
func (c *controlPlane) configure() (compile.Settings, error) {
	content, err := c.read()
	if err != nil {
		return compile.Settings{}, err
	}
	settings, warnings, err := c.decode(content)
	if err != nil {
		return compile.Settings{}, err
	}
	for _, warning := range warnings {
		c.Logger.Warn(warning)
	}
	if c.ProxyConfigPath != "" {
		c.configuration = configfile.New(configfile.Config{
			Path: c.ProxyConfigPath, Held: content, Logger: c.Logger.Named("config"),
			Prepare: c.prepare, Refused: c.refused,
		})
	}
	return settings, nil
}

// group returns which entry of the configuration's nodes selects a node, if one does.
func (c *controlPlane) group(name string) string {
	settings, node := c.driver.Current(), c.objects.Node(name)
	if node == nil {
		return ""
	}
	if group := settings.Group(node); group != nil {
		return group.Name
	}
	return ""
}

func (c *controlPlane) prepare(content []byte) (apply func(), err error) {
	settings, warnings, err := c.decode(content)
	if err != nil {
		return nil, err
	}
	return func() {
		c.Logger.Info("the nodes' configuration has changed", "file", c.ProxyConfigPath)
		for _, warning := range warnings {
			c.Logger.Warn(warning)
		}
		c.metrics.Reloaded(true)
		c.driver.Configure(settings)
	}, nil
}

// refused says why the file's content is not in force, or that it is again.
func (c *controlPlane) refused(why error) {
	object := "file " + c.ProxyConfigPath
	if why == nil {
		c.objects.SetProblems(cluster.Configuration, object, nil)
		return
	}
	c.metrics.Reloaded(false)
	var problems []model.Problem
	for _, err := range each(why) {
		problems = append(problems, model.Problem{Object: object, Message: err.Error() + "; the last good configuration stays in force"})
	}
	c.objects.SetProblems(cluster.Configuration, object, problems)
	for _, problem := range problems {
		c.Logger.Error("refused the nodes' configuration", "problem", problem.String())
	}
}

// each returns the errors that were joined, or the one, without the file's name.
func each(err error) []error {
	var config configError
	if errors.As(err, &config) {
		err = config.err
	}
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		return joined.Unwrap()
	}
	return []error{err}
}
