// Command workload is what pods of the cluster run: a web server that names its pod, a client,
// and what waits in a pod's sandbox. It is one static program, alone in its image.
//
//	workload            serves on port 8080 until it is told to end, and then at once no more
//	workload pause      waits until it is told to end
//	workload get URL    prints what a URL answers; its exit status says whether that was 200
//	workload leave      waits until no node sends to this pod, as a preStop hook does
package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	switch {
	case len(arguments) == 0:
		return serve()
	case arguments[0] == "pause":
		<-ended()
		return nil
	case arguments[0] == "get" && len(arguments) == 2:
		return get(arguments[1])
	case arguments[0] == "leave":
		return get("http://" + os.Getenv("NODE") + ":10256/endpoint-unused?timeout=20s")
	default:
		return fmt.Errorf("%q: expected nothing, pause, get URL or leave", arguments)
	}
}

// ended is closed when the process is told to end.
func ended() <-chan os.Signal {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	return signals
}

func serve() error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	const header = 5 * time.Second
	server := &http.Server{Addr: ":8080", ReadHeaderTimeout: header, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, name)
	})}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-ended():
		return server.Close()
	}
}

func get(url string) error {
	const patience = 30 * time.Second
	response, err := (&http.Client{Timeout: patience}).Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(os.Stdout, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}
