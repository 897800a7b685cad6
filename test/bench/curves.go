package main

import (
	"fmt"
	"math"
	"path/filepath"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// curve is a figure over a size, drawn on two logarithmic axes: there a slope of 0 is a
// cost that does not depend on the size, and 1 one that grows with it.
type curve struct {
	file, title, x, y string
	// before is the name of a benchmark without the size at its end.
	before string
	sizes  []int
	lines  []curveLine
}

type curveLine struct{ name, unit string }

var curves = []curve{
	{file: "benchmarks-services.svg", title: "one endpoint replaced, agent and kernel", x: "Services of 10 endpoints", y: "CPU, µs",
		before: "OneChangeBySize/services=", sizes: []int{100, 1000, 5000, 10_000, 20_000}, lines: []curveLine{{"ours", "cpu-us/change"}}},
	{file: "benchmarks-peer.svg", title: "one endpoint replaced, agent and kernel", x: "Services of 10 endpoints", y: "CPU, µs",
		before: "Peer/services=", sizes: []int{1000, 5000, 10_000}, lines: []curveLine{{"ours", "ours-cpu-us/change"}, {peerShape, "peer-cpu-us/change"}}},
	{file: "benchmarks-streams.svg", title: "one changed resource, sent to all and acknowledged by all", x: "streams", y: "control plane's CPU, ms",
		before: "FanOut/resources=1/streams=", sizes: []int{10, 100, 1000, 5000},
		lines: []curveLine{{"ours", "ours-cpu-ms/commit"}, {"marshal per client", "peer-cpu-ms/commit"}}},
}

// drawn is a curve as the document shows it.
type drawn struct {
	File, Title, X, Y string
	Slopes            []slope
}

type slope struct{ Name, Slope, Points string }

// draw writes the curves' pictures into a directory.
func draw(dir string, curves []curve, found results) ([]drawn, error) {
	var all []drawn
	for _, c := range curves {
		d, err := c.draw(filepath.Join(dir, c.file), found)
		if err != nil {
			return nil, fmt.Errorf("drawing %s: %w", c.file, err)
		}
		all = append(all, d)
	}
	return all, nil
}

func (c curve) draw(path string, found results) (drawn, error) {
	d := drawn{File: c.file, Title: c.title, X: c.x, Y: c.y}
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.title, c.x, c.y
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.LogTicks{Prec: -1}, plot.LogTicks{Prec: -1}
	p.Add(plotter.NewGrid())
	highest, lowest := 0.0, math.Inf(1)
	for i, l := range c.lines {
		points, err := c.points(l, found)
		if err != nil {
			return d, err
		}
		s := slope{Name: l.name, Slope: fmt.Sprintf("%.2f", fit(points))}
		for _, point := range points {
			s.Points += fmt.Sprintf(", %s at %s", number(point.Y), number(point.X))
			highest, lowest = max(highest, point.Y), min(lowest, point.Y)
		}
		s.Points = s.Points[len(", "):]
		d.Slopes = append(d.Slopes, s)
		line, marks, err := plotter.NewLinePoints(points)
		if err != nil {
			return d, err
		}
		line.Color, marks.Color, marks.Shape = plotutil.Color(i), plotutil.Color(i), plotutil.Shape(i)
		p.Add(line, marks)
		p.Legend.Add(l.name, line, marks)
	}
	// Whole decades, so that a flat curve looks flat.
	p.Y.Min = math.Pow(10, math.Floor(math.Log10(lowest)))
	p.Y.Max = math.Pow(10, math.Ceil(math.Log10(highest)+0.1))
	p.Legend.Top, p.Legend.Left = true, true
	return d, p.Save(14*vg.Centimeter, 9*vg.Centimeter, path)
}

func (c curve) points(l curveLine, found results) (plotter.XYs, error) {
	var points plotter.XYs
	for _, size := range c.sizes {
		y, err := found.median(metric{c.before + strconv.Itoa(size), l.unit})
		if err != nil {
			return nil, err
		}
		points = append(points, plotter.XY{X: float64(size), Y: y})
	}
	return points, nil
}

// fit returns the slope of the line that is nearest to the points, by least squares,
// between the logarithms.
func fit(points plotter.XYs) float64 {
	var sx, sy, sxx, sxy float64
	for _, p := range points {
		x, y := math.Log(p.X), math.Log(p.Y)
		sx, sy, sxx, sxy = sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	n := float64(len(points))
	return (n*sxy - sx*sy) / (n*sxx - sx*sx)
}
