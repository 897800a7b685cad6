package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	root := flag.String("root", "../..", "root of the repository")
	raw := flag.String("raw", ".work/bench.txt", "file, from the root, for the raw output, which benchstat reads")
	reuse := flag.Bool("reuse", false, "run nothing: write the document from the raw output of the last time")
	date := flag.String("date", time.Now().Format(time.DateOnly), "date for the document")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	output := filepath.Join(*root, *raw)
	if !*reuse {
		if err := measure(ctx, *root, output); err != nil {
			return err
		}
	}
	found, err := readResults(output)
	if err != nil {
		return err
	}
	tables, err := fill(sections, found)
	if err != nil {
		return err
	}
	reference := filepath.Join(*root, "docs", "reference")
	pictures, err := draw(reference, curves, found)
	if err != nil {
		return err
	}
	if err := writeDocument(filepath.Join(reference, "benchmarks.md"), document{Date: *date, Machine: thisMachine(), Tables: tables, Curves: pictures, Runs: runs}); err != nil {
		return err
	}
	return printTables(os.Stdout, tables)
}
